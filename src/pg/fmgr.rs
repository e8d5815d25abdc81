//! SQL-callable functions: arguments in, results out.
//!
//! [`pg_function!`](crate::pg_function) defines the two symbols PostgreSQL looks for; the scripts
//! in `sql/bootstrap` declare the function. The body gets [`Args`] and returns `Result<Datum>`, so
//! every error is a [`crate::error::Error`] and keeps all its fields.

use crate::error::{Error, Result};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, CStr};

/// Defines a SQL-callable function: `pg_function!(symbol, |args| { ...; args.void() });`
#[macro_export]
macro_rules! pg_function {
    ($(#[$doc:meta])* $name:ident, $body:expr) => {
        $(#[$doc])*
        #[no_mangle]
        #[allow(clippy::missing_safety_doc)]
        pub unsafe extern "C-unwind" fn $name(
            fcinfo: pgrx::pg_sys::FunctionCallInfo,
        ) -> pgrx::pg_sys::Datum {
            $crate::pg::guard::entry_result(|| {
                let body: fn(
                    $crate::pg::fmgr::Args,
                ) -> $crate::error::Result<pgrx::pg_sys::Datum> = $body;
                // SAFETY: PostgreSQL passes a valid call frame.
                body(unsafe { $crate::pg::fmgr::Args::new(fcinfo) })
            })
        }
        const _: () = {
            #[export_name = concat!("pg_finfo_", stringify!($name))]
            extern "C" fn finfo() -> *const pgrx::pg_sys::Pg_finfo_record {
                static RECORD: pgrx::pg_sys::Pg_finfo_record =
                    pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &RECORD
            }
            // Keeps the symbol although nothing in Rust calls it.
            #[used]
            static KEEP: extern "C" fn() -> *const pgrx::pg_sys::Pg_finfo_record = finfo;
        };
    };
}

/// The arguments of one call. Getters answer `None` for NULL; use [`Args::required`] where NULL
/// is not acceptable.
#[derive(Clone, Copy)]
pub struct Args {
    fcinfo: pg_sys::FunctionCallInfo,
}

impl Args {
    /// Wraps a call frame.
    ///
    /// # Safety
    /// `fcinfo` must be the frame PostgreSQL passed to the running function.
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Args { fcinfo }
    }

    /// The raw frame, for functions that need more than arguments.
    pub fn fcinfo(&self) -> pg_sys::FunctionCallInfo {
        self.fcinfo
    }

    /// Number of arguments passed.
    pub fn len(&self) -> usize {
        // SAFETY: valid frame.
        unsafe { (*self.fcinfo).nargs.max(0) as usize }
    }

    /// Whether no argument was passed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Argument `i`, or `None` when NULL or not passed.
    pub fn datum(&self, i: usize) -> Option<Datum> {
        if i >= self.len() {
            return None;
        }
        // SAFETY: `i` is below nargs.
        let arg = unsafe { *(*self.fcinfo).args.as_ptr().add(i) };
        (!arg.isnull).then_some(arg.value)
    }

    /// Type of argument `i` as the call expression knows it (for polymorphic arguments).
    pub fn arg_type(&self, i: usize) -> Oid {
        // SAFETY: flinfo is set for calls through the executor.
        unsafe { pg_sys::get_fn_expr_argtype((*self.fcinfo).flinfo, i as i32) }
    }

    /// Collation of the call.
    pub fn collation(&self) -> Oid {
        // SAFETY: valid frame.
        unsafe { (*self.fcinfo).fncollation }
    }

    /// bool
    pub fn bool(&self, i: usize) -> Option<bool> {
        self.datum(i).map(|d| d.value() & 1 != 0)
    }
    /// smallint
    pub fn i16(&self, i: usize) -> Option<i16> {
        self.datum(i).map(|d| d.value() as i16)
    }
    /// integer
    pub fn i32(&self, i: usize) -> Option<i32> {
        self.datum(i).map(|d| d.value() as i32)
    }
    /// bigint
    pub fn i64(&self, i: usize) -> Option<i64> {
        self.datum(i).map(|d| d.value() as i64)
    }
    /// real
    pub fn f32(&self, i: usize) -> Option<f32> {
        self.datum(i).map(|d| f32::from_bits(d.value() as u32))
    }
    /// double precision
    pub fn f64(&self, i: usize) -> Option<f64> {
        self.datum(i).map(|d| f64::from_bits(d.value() as u64))
    }
    /// oid, regclass, regproc and the like
    pub fn oid(&self, i: usize) -> Option<Oid> {
        self.datum(i).map(|d| Oid::from(d.value() as u32))
    }
    /// text, varchar
    pub fn text(&self, i: usize) -> Option<String> {
        // SAFETY: the SQL declaration says the argument is text.
        self.datum(i).map(|d| unsafe { text_of(d) })
    }
    /// name
    pub fn name(&self, i: usize) -> Option<String> {
        // SAFETY: the SQL declaration says the argument is name, a zero-terminated array.
        self.datum(i).map(|d| unsafe {
            CStr::from_ptr(d.cast_mut_ptr::<c_char>()).to_string_lossy().into_owned()
        })
    }
    /// Elements of a one-dimensional array as text, NULL elements as `None`.
    pub fn text_array(&self, i: usize, element: Oid) -> Option<Vec<Option<String>>> {
        let d = self.datum(i)?;
        Some(
            array_elements(d, element).into_iter().map(|e| e.map(|e| output(element, e))).collect(),
        )
    }
    /// bigint[] without its NULLs
    pub fn i64_array(&self, i: usize) -> Option<Vec<i64>> {
        let d = self.datum(i)?;
        Some(
            array_elements(d, pg_sys::INT8OID)
                .into_iter()
                .flatten()
                .map(|d| d.value() as i64)
                .collect(),
        )
    }

    /// NULL as result.
    pub fn null(&self) -> Result<Datum> {
        // SAFETY: valid frame.
        unsafe { (*self.fcinfo).isnull = true };
        Ok(Datum::from(0usize))
    }
    /// void as result.
    pub fn void(&self) -> Result<Datum> {
        Ok(Datum::from(0usize))
    }
    /// text as result.
    pub fn ret_text(&self, s: &str) -> Result<Datum> {
        Ok(text_datum(s))
    }
    /// Any value or NULL.
    pub fn ret(&self, d: Option<Datum>) -> Result<Datum> {
        match d {
            Some(d) => Ok(d),
            None => self.null(),
        }
    }

    /// A required argument or the error PostgreSQL users know from strict arguments.
    pub fn required<T>(&self, value: Option<T>, name: &str) -> Result<T> {
        value.ok_or_else(|| {
            Error::new(
                crate::error::sqlstate::NULL_VALUE_NOT_ALLOWED,
                format!("argument \"{name}\" must not be null"),
            )
        })
    }

    /// Starts a set-returning result (materialize mode); see [`Rows`].
    pub fn rows(&self) -> Result<Rows> {
        // SAFETY: valid frame; the function raises when sets are not accepted here.
        unsafe {
            pg_sys::InitMaterializedSRF(self.fcinfo, 0);
            let rsi = (*self.fcinfo).resultinfo as *mut pg_sys::ReturnSetInfo;
            Ok(Rows { store: (*rsi).setResult, desc: (*rsi).setDesc })
        }
    }

    /// Like [`Args::rows`] for a function that returns a set of a plain type.
    pub fn scalar_rows(&self) -> Result<Rows> {
        // SAFETY: valid frame; the function raises when sets are not accepted here.
        unsafe {
            pg_sys::InitMaterializedSRF(self.fcinfo, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let rsi = (*self.fcinfo).resultinfo as *mut pg_sys::ReturnSetInfo;
            Ok(Rows { store: (*rsi).setResult, desc: (*rsi).setDesc })
        }
    }

    /// A single composite row as result (functions with several OUT arguments).
    pub fn ret_row(&self, values: &[Option<Datum>]) -> Result<Datum> {
        // SAFETY: the descriptor comes from the function's declaration and is checked for width.
        unsafe {
            let mut desc: pg_sys::TupleDesc = std::ptr::null_mut();
            if pg_sys::get_call_result_type(self.fcinfo, std::ptr::null_mut(), &mut desc)
                != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE
            {
                return Err(Error::internal(
                    "function returning record called in a context that cannot accept it",
                ));
            }
            let (mut v, mut n) = split(values);
            if v.len() != (*desc).natts as usize {
                return Err(Error::internal("wrong number of result columns"));
            }
            let desc = pg_sys::BlessTupleDesc(desc);
            let tuple = pg_sys::heap_form_tuple(desc, v.as_mut_ptr(), n.as_mut_ptr());
            Ok(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
        }
    }
}

fn split(values: &[Option<Datum>]) -> (Vec<Datum>, Vec<bool>) {
    values.iter().map(|v| (v.unwrap_or(Datum::from(0usize)), v.is_none())).unzip()
}

/// Sink for the rows of a set-returning function.
pub struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
}

impl Rows {
    /// The store behind it.
    pub fn store(&self) -> *mut pg_sys::Tuplestorestate {
        self.store
    }

    /// The shape of the rows.
    pub fn desc(&self) -> pg_sys::TupleDesc {
        self.desc
    }

    /// Appends a row; the number of values must be that of the declared columns.
    pub fn push(&self, values: &[Option<Datum>]) -> Result<()> {
        let (v, n) = split(values);
        // SAFETY: store and descriptor live as long as the function's result.
        unsafe {
            if v.len() != (*self.desc).natts as usize {
                return Err(Error::internal("wrong number of result columns"));
            }
            pg_sys::tuplestore_putvalues(
                self.store,
                self.desc,
                v.as_ptr().cast_mut(),
                n.as_ptr().cast_mut(),
            );
        }
        Ok(())
    }

    /// Appends a row given in text form, converted by the columns' input functions.
    pub fn push_text(&self, values: &[Option<String>]) -> Result<()> {
        // SAFETY: the descriptor is alive, attribute access is bounded by natts.
        let types: Vec<(Oid, i32)> = unsafe {
            (0..(*self.desc).natts as usize)
                .map(|i| {
                    let a = (*self.desc).attrs.as_ptr().add(i);
                    ((*a).atttypid, (*a).atttypmod)
                })
                .collect()
        };
        let datums: Vec<Option<Datum>> = values
            .iter()
            .zip(types)
            .map(|(v, (t, m))| v.as_deref().map(|v| input(t, m, v)))
            .collect();
        self.push(&datums)
    }

    /// Ends the result (sets answer through the store).
    pub fn done(self, args: Args) -> Result<Datum> {
        args.null()
    }
}

/// A text datum in the current memory context.
pub fn text_datum(s: &str) -> Datum {
    // SAFETY: copies `len` bytes.
    unsafe {
        Datum::from(pg_sys::cstring_to_text_with_len(s.as_ptr() as *const c_char, s.len() as i32))
    }
}

/// A name datum (truncated to 63 bytes as PostgreSQL does) in the current memory context.
pub fn name_datum(s: &str) -> Datum {
    input(pg_sys::NAMEOID, -1, s)
}

/// Reads a text datum.
///
/// # Safety
/// `d` must be of a text-like varlena type.
pub unsafe fn text_of(d: Datum) -> String {
    // SAFETY: detoasts; the result is zero-terminated.
    unsafe {
        let c = pg_sys::text_to_cstring(
            pg_sys::pg_detoast_datum_packed(d.cast_mut_ptr()) as *const pg_sys::text
        );
        let s = CStr::from_ptr(c).to_string_lossy().into_owned();
        pg_sys::pfree(c as *mut _);
        s
    }
}

/// A value's text form by its type's output function.
pub fn output(typ: Oid, d: Datum) -> String {
    let mut func = Oid::INVALID;
    let mut varlena = false;
    // SAFETY: catalog lookup and function call; errors become panics.
    unsafe {
        pg_sys::getTypeOutputInfo(typ, &mut func, &mut varlena);
        let c = super::guard::call(|| pg_sys::OidOutputFunctionCall(func, d));
        let s = CStr::from_ptr(c).to_string_lossy().into_owned();
        pg_sys::pfree(c as *mut _);
        s
    }
}

/// A copy of a value of the type in the current memory context.
///
/// # Safety
/// The datum must be a value of the type.
pub unsafe fn copied(typ: Oid, d: Datum) -> Datum {
    let (mut len, mut by_value) = (0i16, false);
    // SAFETY: a syscache look-up, and the caller's promise.
    unsafe {
        super::guard::call(|| pg_sys::get_typlenbyval(typ, &mut len, &mut by_value));
        super::guard::call(|| raw_copy(d, by_value, len.into()))
    }
}

extern "C-unwind" {
    #[link_name = "datumCopy"]
    fn raw_copy(value: Datum, by_value: bool, len: std::ffi::c_int) -> Datum;
    #[link_name = "OidInputFunctionCall"]
    fn raw_input(func: Oid, s: *mut c_char, ioparam: Oid, typmod: i32) -> Datum;
}

/// Parses a value by its type's input function; a bad value raises PostgreSQL's own error.
pub fn input(typ: Oid, typmod: i32, s: &str) -> Datum {
    let mut func = Oid::INVALID;
    let mut ioparam = Oid::INVALID;
    // SAFETY: catalog lookup and function call; the string is zero-terminated by palloc'd copy.
    unsafe {
        pg_sys::getTypeInputInfo(typ, &mut func, &mut ioparam);
        let c = pg_sys::pnstrdup(s.as_ptr() as *const c_char, s.len());
        super::guard::call(|| raw_input(func, c, ioparam, typmod))
    }
}

/// Elements of an array datum, flattened.
pub fn array_elements(d: Datum, element: Oid) -> Vec<Option<Datum>> {
    // SAFETY: the caller's declaration says `d` is an array of `element`.
    unsafe {
        let (mut len, mut byval, mut align) = (0i16, false, 0 as c_char);
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut byval, &mut align);
        let array = pg_sys::pg_detoast_datum(d.cast_mut_ptr()) as *mut pg_sys::ArrayType;
        let mut elems: *mut Datum = std::ptr::null_mut();
        let mut nulls: *mut bool = std::ptr::null_mut();
        let mut n = 0i32;
        pg_sys::deconstruct_array(
            array, element, len as i32, byval, align, &mut elems, &mut nulls, &mut n,
        );
        (0..n.max(0) as usize).map(|i| (!*nulls.add(i)).then(|| *elems.add(i))).collect()
    }
}

/// An array of values of a type, none of which is NULL.
pub fn array_of(element: Oid, values: &mut [Datum]) -> Datum {
    // SAFETY: the caller's declaration says they are values of `element`.
    unsafe {
        let (mut len, mut byval, mut align) = (0i16, false, 0 as c_char);
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut byval, &mut align);
        let n = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let start = values.as_mut_ptr();
        let array = super::guard::call(|| {
            pg_sys::construct_array(start, n, element, len as i32, byval, align)
        });
        Datum::from(array as usize)
    }
}

/// Quotes an identifier as the server does (only where needed).
pub fn quote_ident(s: &str) -> String {
    // SAFETY: zero-terminated copy in, zero-terminated string out.
    unsafe {
        let c = pg_sys::pnstrdup(s.as_ptr() as *const c_char, s.len());
        CStr::from_ptr(pg_sys::quote_identifier(c)).to_string_lossy().into_owned()
    }
}

/// Quotes a literal as the server does.
pub fn quote_literal(s: &str) -> String {
    // SAFETY: zero-terminated copy in, zero-terminated string out.
    unsafe {
        let c = pg_sys::pnstrdup(s.as_ptr() as *const c_char, s.len());
        let q = pg_sys::quote_literal_cstr(c);
        let s = CStr::from_ptr(q).to_string_lossy().into_owned();
        pg_sys::pfree(q as *mut _);
        s
    }
}

/// `schema.name`, both quoted as needed.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_ident(schema), quote_ident(name))
}
