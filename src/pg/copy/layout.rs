//! The state of PostgreSQL's COPY FROM (`commands/copyfrom_internal.h`, a public header whose
//! layout is fixed within a major version) and the functions that work on it, declared without
//! pgrx's wrappers so that errors keep all their fields.

use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, c_int, c_uint, c_void};

/// `EOL_NL` of `EolType`.
pub(super) const EOL_NL: c_uint = 1;

/// `CopyFromStateData` of PostgreSQL 15.
#[repr(C)]
pub(super) struct State {
    pub copy_src: c_uint,
    pub copy_file: *mut c_void,
    pub fe_msgbuf: *mut pg_sys::StringInfoData,
    pub eol_type: c_uint,
    pub file_encoding: c_int,
    pub need_transcoding: bool,
    pub conversion_proc: Oid,
    pub rel: pg_sys::Relation,
    pub attnumlist: *mut pg_sys::List,
    pub filename: *mut c_char,
    pub is_program: bool,
    pub data_source_cb: DataSource,
    pub opts: pg_sys::CopyFormatOptions,
    pub convert_select_flags: *mut bool,
    pub where_clause: *mut pg_sys::Node,
    pub cur_relname: *const c_char,
    pub cur_lineno: u64,
    pub cur_attname: *const c_char,
    pub cur_attval: *const c_char,
    pub copycontext: pg_sys::MemoryContext,
    pub num_defaults: i16,
    pub in_functions: *mut pg_sys::FmgrInfo,
    pub typioparams: *mut Oid,
    pub defmap: *mut c_int,
    pub defexprs: *mut *mut pg_sys::ExprState,
    pub volatile_defexprs: bool,
    pub range_table: *mut pg_sys::List,
    pub qualexpr: *mut pg_sys::ExprState,
    pub transition_capture: *mut c_void,
    pub attribute_buf: pg_sys::StringInfoData,
    pub max_fields: c_int,
    pub raw_fields: *mut *mut c_char,
    pub line_buf: pg_sys::StringInfoData,
    pub line_buf_valid: bool,
    pub input_buf: *mut c_char,
    pub input_buf_index: c_int,
    pub input_buf_len: c_int,
    pub input_reached_eof: bool,
    pub input_reached_error: bool,
    pub raw_buf: *mut c_char,
    pub raw_buf_index: c_int,
    pub raw_buf_len: c_int,
    pub raw_reached_eof: bool,
    pub bytes_processed: u64,
}

/// `copy_data_source_cb`.
pub(super) type DataSource =
    Option<unsafe extern "C-unwind" fn(out: *mut c_void, min: c_int, max: c_int) -> c_int>;

/// Functions of the server that raise errors whose fields matter.
#[allow(non_snake_case)]
pub(super) mod raw {
    use super::*;
    extern "C-unwind" {
        pub fn BeginCopyFrom(
            pstate: *mut pg_sys::ParseState,
            rel: pg_sys::Relation,
            where_clause: *mut pg_sys::Node,
            filename: *const c_char,
            is_program: bool,
            source: DataSource,
            attnamelist: *mut pg_sys::List,
            options: *mut pg_sys::List,
        ) -> *mut State;
        pub fn EndCopyFrom(state: *mut State);
        pub fn NextCopyFromRawFields(
            state: *mut State,
            fields: *mut *mut *mut c_char,
            nfields: *mut c_int,
        ) -> bool;
        pub fn NextCopyFrom(
            state: *mut State,
            econtext: *mut pg_sys::ExprContext,
            values: *mut Datum,
            nulls: *mut bool,
        ) -> bool;
        pub fn CopyFrom(state: *mut State) -> u64;
        pub fn DoCopy(
            pstate: *mut pg_sys::ParseState,
            stmt: *const pg_sys::CopyStmt,
            location: c_int,
            length: c_int,
            processed: *mut u64,
        );
        pub fn CopyFromErrorCallback(arg: *mut c_void);
        pub fn InputFunctionCall(
            function: *mut pg_sys::FmgrInfo,
            text: *mut c_char,
            typioparam: Oid,
            typmod: i32,
        ) -> Datum;
        pub fn table_openrv(relation: *const pg_sys::RangeVar, lockmode: c_int)
            -> pg_sys::Relation;
        pub fn table_open(relid: Oid, lockmode: c_int) -> pg_sys::Relation;
        pub fn make_parsestate(parent: *mut pg_sys::ParseState) -> *mut pg_sys::ParseState;
        pub fn addRangeTableEntryForRelation(
            pstate: *mut pg_sys::ParseState,
            rel: pg_sys::Relation,
            lockmode: c_int,
            alias: *mut pg_sys::Alias,
            inh: bool,
            in_from_clause: bool,
        ) -> *mut pg_sys::ParseNamespaceItem;
        pub fn addNSItemToQuery(
            pstate: *mut pg_sys::ParseState,
            nsitem: *mut pg_sys::ParseNamespaceItem,
            join_list: bool,
            rel_namespace: bool,
            var_namespace: bool,
        );
        pub fn transformExpr(
            pstate: *mut pg_sys::ParseState,
            expr: *mut pg_sys::Node,
            kind: c_uint,
        ) -> *mut pg_sys::Node;
        pub fn coerce_to_boolean(
            pstate: *mut pg_sys::ParseState,
            node: *mut pg_sys::Node,
            construct: *const c_char,
        ) -> *mut pg_sys::Node;
        pub fn assign_expr_collations(pstate: *mut pg_sys::ParseState, expr: *mut pg_sys::Node);
        pub fn eval_const_expressions(
            root: *mut pg_sys::PlannerInfo,
            node: *mut pg_sys::Node,
        ) -> *mut pg_sys::Node;
        pub fn canonicalize_qual(qual: *mut pg_sys::Expr, is_check: bool) -> *mut pg_sys::Expr;
        pub fn make_ands_implicit(clause: *mut pg_sys::Expr) -> *mut pg_sys::List;
        pub fn CopyGetAttnums(
            desc: pg_sys::TupleDesc,
            rel: pg_sys::Relation,
            names: *mut pg_sys::List,
        ) -> *mut pg_sys::List;
        pub fn ProcessCopyOptions(
            pstate: *mut pg_sys::ParseState,
            out: *mut pg_sys::CopyFormatOptions,
            is_from: bool,
            options: *mut pg_sys::List,
        );
        pub fn ExecCheckRTPerms(rtable: *mut pg_sys::List, violation: bool) -> bool;
        pub fn check_enable_rls(relid: Oid, user: Oid, no_error: bool) -> c_int;
        pub fn PreventCommandIfReadOnly(name: *const c_char);
        pub fn ExecInitQual(
            qual: *mut pg_sys::List,
            parent: *mut pg_sys::PlanState,
        ) -> *mut pg_sys::ExprState;
        pub fn InitResultRelInfo(
            info: *mut pg_sys::ResultRelInfo,
            rel: pg_sys::Relation,
            index: pg_sys::Index,
            root: *mut pg_sys::ResultRelInfo,
            instrument: c_int,
        );
        pub fn ExecConstraints(
            info: *mut pg_sys::ResultRelInfo,
            slot: *mut pg_sys::TupleTableSlot,
            estate: *mut pg_sys::EState,
        );
        pub fn SendFunctionCall(
            function: *mut pg_sys::FmgrInfo,
            value: Datum,
        ) -> *mut pg_sys::varlena;
        pub fn OutputFunctionCall(function: *mut pg_sys::FmgrInfo, value: Datum) -> *mut c_char;
        pub fn pg_parse_query(text: *const c_char) -> *mut pg_sys::List;
        pub fn ProcessInterrupts();
    }
}

/// Values of a list of integers.
///
/// # Safety
/// `list` must be null or a valid integer list.
pub(super) unsafe fn integers(list: *const pg_sys::List) -> Vec<i32> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller promises a valid integer list.
    unsafe {
        (0..(*list).length.max(0) as usize).map(|i| (*(*list).elements.add(i)).int_value).collect()
    }
}

/// Strings of a list of String nodes.
///
/// # Safety
/// `list` must be null or a valid list of String nodes.
pub(super) unsafe fn strings(list: *const pg_sys::List) -> Vec<String> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller promises a valid list of String nodes, whose text is zero-terminated.
    unsafe {
        (0..(*list).length.max(0) as usize)
            .map(|i| {
                let node = (*(*list).elements.add(i)).ptr_value as *const pg_sys::String;
                std::ffi::CStr::from_ptr((*node).sval).to_string_lossy().into_owned()
            })
            .collect()
    }
}
