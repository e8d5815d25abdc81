//! Rows of no named type as constants.

use super::{Const, List, Node, Ref, RowExpr};
use crate::pg::fmgr;
use pgrx::pg_sys::{self, CoercionForm, Datum, NodeTag, Oid};

/// A row of no named type, or a list of such rows, as the expression that makes it: nothing can
/// read its text. `None` for other constants, NULL, and arrays of more dimensions.
pub fn written_out(c: Const) -> Option<Node> {
    if c.constisnull() {
        return None;
    }
    // SAFETY: a value of the type that the constant says.
    let value = unsafe { (*c.as_ptr()).constvalue };
    match c.consttype() {
        pg_sys::RECORDOID => Some(row(value)),
        pg_sys::RECORDARRAYOID => array(value),
        _ => None,
    }
}

/// `ROW(values)`.
fn row(value: Datum) -> Node {
    let made = RowExpr::new();
    let mut fields = List::EMPTY;
    let mut names = List::EMPTY;
    // SAFETY: a row of a type that this session knows; the descriptor is released, and the values
    // belong to a copy that lives as long as the query.
    unsafe {
        let header = pg_sys::pg_detoast_datum_copy(value.cast_mut_ptr()) as pg_sys::HeapTupleHeader;
        let of = (*header).t_choice.t_datum;
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(of.datum_typeid, of.datum_typmod);
        let mut tuple = pg_sys::HeapTupleData {
            t_len: (of.datum_len_ as u32) >> 2,
            t_self: Default::default(),
            t_tableOid: Oid::INVALID,
            t_data: header,
        };
        let natts = (*desc).natts.max(0) as usize;
        let mut values = vec![Datum::from(0usize); natts];
        let mut nulls = vec![true; natts];
        pg_sys::heap_deform_tuple(&mut tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
        let all = (*desc).attrs.as_slice(natts).iter().enumerate();
        for (i, a) in all.filter(|(_, a)| !a.attisdropped) {
            let (len, by_value) = (i32::from(a.attlen), a.attbyval);
            let (typ, collation) = (a.atttypid, a.attcollation);
            let c =
                pg_sys::makeConst(typ, a.atttypmod, collation, len, values[i], nulls[i], by_value);
            let field = Ref::<pg_sys::Const>::from_raw(c);
            let written = field.and_then(written_out);
            fields.push(written.unwrap_or(Node(c.cast())));
            names.push(super::string(&format!("f{}", i + 1)));
        }
    }
    made.set_args(fields);
    made.set_colnames(names);
    made.set_row_typeid(pg_sys::RECORDOID);
    made.set_row_format(CoercionForm::COERCE_EXPLICIT_CALL);
    made.set_location(-1);
    made.node()
}

/// `ARRAY[rows]`.
fn array(value: Datum) -> Option<Node> {
    // SAFETY: an array of rows.
    let dimensions = unsafe {
        let array = pg_sys::pg_detoast_datum(value.cast_mut_ptr()) as *mut pg_sys::ArrayType;
        (*array).ndim
    };
    if dimensions != 1 {
        return None;
    }
    let null = || super::null(pg_sys::RECORDOID, -1, Oid::INVALID);
    let rows = fmgr::array_elements(value, pg_sys::RECORDOID);
    let elements: List<Node> = rows.into_iter().map(|r| r.map_or_else(null, row)).collect();
    // SAFETY: a new node, of which all fields are set.
    unsafe {
        let a: *mut pg_sys::ArrayExpr = crate::pg::nodes::make(NodeTag::T_ArrayExpr);
        (*a).array_typeid = pg_sys::RECORDARRAYOID;
        (*a).array_collid = Oid::INVALID;
        (*a).element_typeid = pg_sys::RECORDOID;
        (*a).elements = elements.as_ptr();
        (*a).multidims = false;
        (*a).location = -1;
        Some(Node(a.cast()))
    }
}
