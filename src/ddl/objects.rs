//! Statements that make a table's dependencies elsewhere: schemas, extensions, types, collations and
//! functions, what they are made of first.

use super::functions::Function;
use super::{info, roles};
use crate::error::Result;
use crate::pg::fmgr::quote_ident;
use crate::pg::spi;
use pgrx::pg_sys::{self, Oid};

const PG_CONSTRAINT: Oid = Oid::from_u32(2606);

/// Who makes something on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// The current user, whom it belongs to.
    User,
    /// A superuser: roles, schemas, extensions, and what belongs to others or is a part of that.
    Superuser,
}

/// What objects need, in the order in which it has to be made.
#[derive(Default)]
pub struct Objects {
    seen: Vec<(u32, u32)>,
    commands: Vec<(Maker, String)>,
    /// Whether what comes now is a part of an object of somebody else.
    of_others: bool,
}

impl Objects {
    /// All statements, in order.
    pub fn all(self) -> Vec<String> {
        self.commands.into_iter().map(|c| c.1).collect()
    }

    /// The statements of a superuser and those of the user, each in order.
    pub fn by_maker(self) -> (Vec<String>, Vec<String>) {
        let is_basis = |c: &(Maker, String)| c.0 == Maker::Superuser;
        let (basis, own): (Vec<_>, Vec<_>) = self.commands.into_iter().partition(is_basis);
        let texts = |list: Vec<(Maker, String)>| list.into_iter().map(|c| c.1).collect();
        (texts(basis), texts(own))
    }

    /// Adds statements.
    pub fn push(&mut self, maker: Maker, commands: impl IntoIterator<Item = String>) {
        self.commands.extend(commands.into_iter().map(|c| (maker, c)));
    }

    /// Who makes what belongs to the user, or to others.
    fn maker(&self, is_own: bool) -> Maker {
        if is_own && !self.of_others {
            Maker::User
        } else {
            Maker::Superuser
        }
    }

    /// Visits the parts of an object; those of somebody else's come before it, from the same maker.
    fn with_parts(
        &mut self,
        is_own: bool,
        visit: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let before = self.of_others;
        self.of_others |= !is_own;
        let result = visit(self);
        self.of_others = before;
        result
    }

    /// Adds the statement that makes an object, and gives it to its owner where that is another one than
    /// its maker; `kind` and name are as ALTER ... OWNER TO wants them.
    fn make(
        &mut self,
        (kind, name): (&str, &str),
        owner: &Owner,
        definition: String,
    ) -> Result<()> {
        let maker = self.maker(owner.is_own);
        if maker == Maker::User {
            self.push(maker, [definition]);
            return Ok(());
        }
        self.push(maker, roles::named(std::slice::from_ref(&owner.name))?);
        let give = format!("ALTER {kind} {name} OWNER TO {}", quote_ident(&owner.name));
        self.push(maker, [definition, give]);
        Ok(())
    }

    /// An object and what it is made of. Of other kinds than types, collations and functions just the
    /// extension that they come with.
    pub fn add(&mut self, class: Oid, object: Oid) -> Result<()> {
        match class {
            pg_sys::TypeRelationId => self.typ(object),
            pg_sys::CollationRelationId => self.collation(object),
            pg_sys::ProcedureRelationId => self.function(object),
            // A language.
            _ => match extension_of(class, object)? {
                Some(name) if name != "citus" && name != "plpgsql" => self.extension(&name),
                _ => Ok(()),
            },
        }
    }

    /// Whether an object comes from the user, and for the first time.
    fn is_new(&mut self, class: Oid, object: Oid) -> bool {
        let id = (u32::from(class), u32::from(object));
        let new = id.1 >= pg_sys::FirstNormalObjectId && !self.seen.contains(&id);
        if new {
            self.seen.push(id);
        }
        new
    }

    /// What an object of a catalog is made with.
    fn parts(&mut self, class: Oid, object: Oid) -> Result<()> {
        let sql = "SELECT DISTINCT refclassid, refobjid FROM pg_depend \
            WHERE classid = $1 AND objid = $2 AND refobjid >= 16384 ORDER BY 1, 2";
        for r in info::rows(sql, &[spi::oid(class), spi::oid(object)])? {
            self.add(r.oid(0), r.oid(1))?;
        }
        Ok(())
    }

    /// A collation.
    pub fn collation(&mut self, oid: Oid) -> Result<()> {
        if !self.is_new(pg_sys::CollationRelationId, oid) {
            return Ok(());
        }
        let sql =
            "SELECT format('CREATE COLLATION %I.%I (provider = %s, %s, deterministic = %s)', \
                n.nspname, c.collname, CASE c.collprovider WHEN 'i' THEN 'icu' ELSE 'libc' END, \
                CASE WHEN c.collprovider = 'i' THEN format('locale = %L', c.colliculocale) \
                ELSE format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) END, \
                CASE WHEN c.collisdeterministic THEN 'true' ELSE 'false' END), n.nspname, \
                format('%I.%I', n.nspname, c.collname), pg_get_userbyid(c.collowner), \
                pg_get_userbyid(c.collowner) = current_user \
            FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace \
            WHERE c.oid = $1";
        for r in info::rows(sql, &[spi::oid(oid)])? {
            self.schema(&r.text(1))?;
            let owner = Owner { name: r.text(3), is_own: r.bool(4) };
            self.make(("COLLATION", &r.text(2)), &owner, r.text(0))?;
        }
        Ok(())
    }

    /// A user-defined type and what it is made of, innermost first.
    pub fn typ(&mut self, oid: Oid) -> Result<()> {
        if !self.is_new(pg_sys::TypeRelationId, oid) {
            return Ok(());
        }
        let sql = "SELECT t.typtype, t.typelem, t.typbasetype, t.typrelid, n.nspname, \
            (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
                WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'), \
            (SELECT k.relkind FROM pg_class k WHERE k.oid = t.typrelid), t.typcategory, \
            (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid), \
            pg_get_userbyid(t.typowner), pg_get_userbyid(t.typowner) = current_user \
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1";
        let Some(r) = info::rows(sql, &[spi::oid(oid)])?.into_iter().next() else { return Ok(()) };
        if let Some(extension) = r.opt(5) {
            return self.extension(&extension);
        }
        if r.char(7) == b'A' && r.num::<u32>(1) != 0 {
            return self.typ(r.oid(1));
        }
        self.schema(&r.text(4))?;
        let owner = Owner { name: r.text(9), is_own: r.bool(10) };
        let define = match r.char(0) {
            b'e' => ENUM,
            b'd' => DOMAIN,
            b'c' if r.char(6) == b'c' => COMPOSITE,
            b'r' => RANGE,
            _ => return Ok(()),
        };
        self.with_parts(owner.is_own, |parts| match r.char(0) {
            b'd' => {
                parts.typ(r.oid(2))?;
                parts.checks(oid)
            }
            b'c' => parts.fields(r.oid(3)),
            b'r' => {
                parts.typ(r.oid(8))?;
                parts.parts(pg_sys::TypeRelationId, oid)
            }
            _ => Ok(()),
        })?;
        for r in spi::pinned(|| info::rows(define, &[spi::oid(oid)]))? {
            self.make(("TYPE", &r.text(1)), &owner, r.text(0))?;
        }
        Ok(())
    }

    /// A function, as it is here.
    pub fn function(&mut self, oid: Oid) -> Result<()> {
        if !self.is_new(pg_sys::ProcedureRelationId, oid) {
            return Ok(());
        }
        if let Some(name) = extension_of(pg_sys::ProcedureRelationId, oid)? {
            return self.extension(&name);
        }
        let Some(f) = Function::load(oid)? else { return Ok(()) };
        self.with_parts(f.is_own, |parts| parts.parts(pg_sys::ProcedureRelationId, oid))?;
        self.schema(&f.schema)?;
        self.push(Maker::Superuser, roles::named(&f.roles())?);
        let maker = self.maker(f.is_own);
        self.push(maker, f.commands(maker == Maker::User));
        Ok(())
    }

    /// An extension, in the same schema and version as here.
    pub fn extension(&mut self, name: &str) -> Result<()> {
        let sql = "SELECT n.nspname, e.extversion, \
            (SELECT string_agg(r.extname, '/') FROM pg_depend d JOIN pg_extension r ON r.oid = d.refobjid \
                WHERE d.classid = 'pg_extension'::regclass AND d.objid = e.oid \
                AND d.refclassid = 'pg_extension'::regclass) \
            FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
        for r in info::rows(sql, &[spi::text(name)])? {
            for required in r.opt(2).unwrap_or_default().split('/').filter(|n| !n.is_empty()) {
                self.extension(required)?;
            }
            // What lies in pg_catalog can only have been put there by the extension itself.
            let place = match r.text(0).as_str() {
                "pg_catalog" => String::new(),
                at => {
                    self.schema(at)?;
                    format!(" SCHEMA {}", quote_ident(at))
                }
            };
            let command = format!(
                "CREATE EXTENSION IF NOT EXISTS {}{place} VERSION {}",
                quote_ident(name),
                quote_ident(&r.text(1))
            );
            if !self.commands.iter().any(|c| c.1 == command) {
                self.push(Maker::Superuser, [command]);
            }
        }
        Ok(())
    }

    /// A schema with its rights.
    pub fn schema(&mut self, name: &str) -> Result<()> {
        if name == "public" {
            return Ok(());
        }
        let mut list = Vec::new();
        let sql = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1";
        for r in info::rows(sql, &[spi::text(name)])? {
            list.extend(roles::of_schema(name)?);
            let (name, owner) = (quote_ident(name), quote_ident(&r.text(0)));
            list.push(format!("CREATE SCHEMA {name} AUTHORIZATION {owner}"));
        }
        // A row each: a superuser runs them, and names may look like statements.
        let sql = "SELECT format('GRANT %s ON SCHEMA %I TO %s', a.privilege_type, nspname, \
                CASE a.grantee WHEN 0 THEN 'PUBLIC' \
                ELSE quote_ident(pg_get_userbyid(a.grantee)) END) \
            FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = $1 AND a.grantee <> nspowner";
        list.extend(info::rows(sql, &[spi::text(name)])?.iter().map(|r| r.text(0)));
        self.push(Maker::Superuser, list);
        Ok(())
    }

    /// What the checks of a domain are made with.
    pub fn checks(&mut self, domain: Oid) -> Result<()> {
        // They depend on the domain itself.
        self.is_new(pg_sys::TypeRelationId, domain);
        let sql = "SELECT oid FROM pg_constraint WHERE contypid = $1 ORDER BY 1";
        for r in info::rows(sql, &[spi::oid(domain)])? {
            self.parts(PG_CONSTRAINT, r.oid(0))?;
        }
        Ok(())
    }

    /// What the fields of a composite type are made with.
    fn fields(&mut self, relid: Oid) -> Result<()> {
        let sql = "SELECT atttypid, attcollation FROM pg_attribute \
            WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        for r in info::rows(sql, &[spi::oid(relid)])? {
            self.collation(r.oid(1))?;
            self.typ(r.oid(0))?;
        }
        Ok(())
    }
}

/// Whom an object belongs to.
struct Owner {
    name: String,
    /// The current user.
    is_own: bool,
}

// The statements that make types, and the types' names.

const ENUM: &str = "SELECT format('CREATE TYPE %s AS ENUM (%s)', format_type($1, NULL), \
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) \
         FROM pg_enum WHERE enumtypid = $1)), format_type($1, NULL)";

const DOMAIN: &str = "SELECT format('CREATE DOMAIN %s AS %s%s%s%s%s', format_type(t.oid, NULL), \
        format_type(t.typbasetype, t.typtypmod), \
        (SELECT format(' COLLATE %I.%I', n.nspname, c.collname) FROM pg_collation c \
         JOIN pg_namespace n ON n.oid = c.collnamespace JOIN pg_type b ON b.oid = t.typbasetype \
         WHERE c.oid = t.typcollation AND t.typcollation <> b.typcollation), \
        ' DEFAULT ' || pg_get_expr(t.typdefaultbin, 0), \
        CASE WHEN t.typnotnull THEN ' NOT NULL' END, \
        (SELECT string_agg(format(' CONSTRAINT %I %s', conname, \
            regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '')), '' ORDER BY conname) \
            FROM pg_constraint WHERE contypid = t.oid)), format_type(t.oid, NULL) \
        FROM pg_type t WHERE t.oid = $1";

const COMPOSITE: &str = "SELECT format('CREATE TYPE %s AS (%s)', format_type($1, NULL), \
        (SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod), \
            (SELECT format(' COLLATE %I.%I', n.nspname, c.collname) FROM pg_collation c \
             JOIN pg_namespace n ON n.oid = c.collnamespace JOIN pg_type b ON b.oid = a.atttypid \
             WHERE c.oid = a.attcollation AND a.attcollation <> b.typcollation)), \
            ', ' ORDER BY a.attnum) \
         FROM pg_attribute a JOIN pg_type t ON t.typrelid = a.attrelid \
         WHERE t.oid = $1 AND a.attnum > 0 AND NOT a.attisdropped)), format_type($1, NULL)";

const RANGE: &str = "SELECT format('CREATE TYPE %s AS RANGE (subtype = %s%s%s)', \
        format_type(r.rngtypid, NULL), format_type(r.rngsubtype, NULL), \
        (SELECT format(', collation = %I.%I', n.nspname, c.collname) FROM pg_collation c \
         JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = r.rngcollation), \
        CASE WHEN r.rngsubdiff <> 0 THEN format(', subtype_diff = %s', r.rngsubdiff::regproc) END), \
        format_type(r.rngtypid, NULL) \
        FROM pg_range r WHERE r.rngtypid = $1 OR r.rngmultitypid = $1";

/// The extension that an object comes with.
fn extension_of(class: Oid, object: Oid) -> Result<Option<String>> {
    let sql = "SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
        WHERE d.classid = $1 AND d.objid = $2 AND d.deptype = 'e'";
    let rows = info::rows(sql, &[spi::oid(class), spi::oid(object)])?;
    Ok(rows.first().map(|r| r.text(0)))
}

/// The statement that makes a type what it is here, by its name as SQL writes it.
pub fn type_definition(name: &str) -> Result<Option<String>> {
    let sql = "SELECT to_regtype($1)::oid";
    let Some(oid) = spi::pinned(|| spi::value(sql, &[spi::text(name)]))? else { return Ok(None) };
    let Ok(oid) = oid.parse::<u32>() else { return Ok(None) };
    let mut objects = Objects::default();
    objects.typ(Oid::from(oid))?;
    let makes = |c: &String| c.starts_with("CREATE ");
    Ok(objects.all().into_iter().rfind(makes))
}
