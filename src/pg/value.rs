//! Values together with their types.

use pgrx::pg_sys::{Datum, Oid};

/// A value that is not NULL, and its type.
#[derive(Clone, Copy)]
pub struct Typed {
    typ: Oid,
    datum: Datum,
}

impl Typed {
    /// A value of a type.
    ///
    /// # Safety
    /// The datum must be a value of the type, and live as long as it is used.
    pub unsafe fn new(typ: Oid, datum: Datum) -> Typed {
        Typed { typ, datum }
    }

    /// The type.
    pub fn typ(self) -> Oid {
        self.typ
    }

    /// The value itself.
    pub fn datum(self) -> Datum {
        self.datum
    }

    /// Its text form.
    pub fn text(self) -> String {
        super::fmgr::output(self.typ, self.datum)
    }

    /// The elements of an array that are not NULL; `None` when it is no array.
    pub fn elements(self) -> Option<Vec<Typed>> {
        let element = super::lookup::element_type(self.typ)?;
        let all = super::fmgr::array_elements(self.datum, element);
        Some(all.into_iter().flatten().map(|datum| Typed { typ: element, datum }).collect())
    }
}
