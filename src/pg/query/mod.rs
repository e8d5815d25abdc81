//! Query trees and plans of the running planner call as handles that safe code can use.
//!
//! PostgreSQL allocates the nodes of a query in the memory context of the planner call, changes
//! them in place, shares them, and never frees one by itself: they go all at once, with the
//! context. The handles here say the same: [`Ref`] (a node of a known type), [`Node`] (a node of
//! any type, or none) and [`List`] are copies of a pointer into that memory.
//!
//! Why safe code may follow them:
//! - A handle is made from a raw pointer only by `from_raw`, which is unsafe: in the hooks and the
//!   executor's callbacks, which get the pointers from PostgreSQL. Everything else is reached from
//!   there or allocated here, in the current memory context.
//! - Nothing here frees a node, and handles are used within the call that they were made in. They
//!   are not `Send`, and nothing that outlives a planner call (caches, plans, settings) has a field
//!   of these types; that is the rule for whoever writes a new one. [`KeptPlan`] has copies.
//! - No Rust reference to a node ever exists: fields are read and written as copies, one at a
//!   time, so it does not matter how many handles share a node.
//! - The type of a field is PostgreSQL's declaration of it (`fields`), and a node is taken for
//!   one of a type only when its tag says so.
//!
//! What the types do not say is whether a tree makes sense: an expression of the wrong type is a
//! bug here as it is in any planner written in C.

mod expr;
mod fields;
mod keep;
mod make;
mod plan;
mod row_value;
mod walk;

pub use expr::query_text;
pub use fields::*;
pub use keep::KeptPlan;
pub use make::*;
pub use plan::{actual_clauses, Methods, PlannerInfo};
pub use row_value::written_out;
pub use walk::Visit;

use super::nodes;
use pgrx::pg_sys::{self, NodeTag, Oid};
use rustc_hash::FxHasher;
use std::ffi::{c_char, c_void};
use std::hash::{Hash, Hasher as _};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A node whose type is known.
#[repr(transparent)]
pub struct Ref<T>(NonNull<T>);

/// A node of any type, or none, as PostgreSQL has it for an expression that may be missing.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Node(*mut pg_sys::Node);

/// A list; PostgreSQL's empty list is a null pointer.
#[repr(transparent)]
pub struct List<E>(*mut pg_sys::List, PhantomData<E>);

/// A name in a node, or none, in the server's encoding.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text(*mut c_char);

/// Types of nodes that have a tag of their own.
///
/// # Safety
/// A node with the tag must be a `Self`, and all zeroes apart from the tag must be a valid one.
pub unsafe trait Tagged {
    /// The tag.
    const TAG: NodeTag;
}

/// What lists consist of.
pub trait Element: Copy {
    /// Reads a cell of a list of such elements.
    ///
    /// # Safety
    /// The cell must be of such a list.
    unsafe fn read(cell: &pg_sys::ListCell) -> Self;

    /// Appends to a list of such elements.
    ///
    /// # Safety
    /// The list must be null or such a list.
    unsafe fn append(self, list: *mut pg_sys::List) -> *mut pg_sys::List;
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<T> {}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Ref<T> {
    /// A handle for a pointer; `None` for null.
    ///
    /// # Safety
    /// A pointer that is not null must be to a node of this type that lives as long as the
    /// running call uses it.
    pub unsafe fn from_raw(p: *mut T) -> Option<Self> {
        NonNull::new(p).map(Ref)
    }

    /// The pointer.
    pub fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }

    /// The node without its type.
    pub fn node(self) -> Node {
        Node(self.0.as_ptr().cast())
    }

    /// A deep copy.
    pub fn copy(self) -> Self {
        // SAFETY: a valid node; a copy is of the same type and never null.
        unsafe { Ref(NonNull::new_unchecked(nodes::copy(self.0.as_ptr()))) }
    }

    /// A copy of the node itself, which shares what is below it.
    pub fn shallow_copy(self) -> Self {
        // SAFETY: palloc raises an error rather than return null; nodes are plain data.
        unsafe {
            let p = pg_sys::palloc(std::mem::size_of::<T>()).cast::<T>();
            p.copy_from_nonoverlapping(self.0.as_ptr(), 1);
            Ref(NonNull::new_unchecked(p))
        }
    }
}

impl<T: Tagged> Ref<T> {
    /// A new node with nothing in it.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        // SAFETY: zeroes and the tag are a valid node; palloc does not return null.
        unsafe { Ref(NonNull::new_unchecked(nodes::make(T::TAG))) }
    }
}

impl<T> From<Ref<T>> for Node {
    fn from(r: Ref<T>) -> Node {
        r.node()
    }
}

impl<T> From<Option<Ref<T>>> for Node {
    fn from(r: Option<Ref<T>>) -> Node {
        r.map_or(Node::NONE, Ref::node)
    }
}

impl<E> From<List<E>> for Node {
    fn from(l: List<E>) -> Node {
        l.node()
    }
}

impl Node {
    /// No node.
    pub const NONE: Node = Node(std::ptr::null_mut());

    /// A handle for a pointer.
    ///
    /// # Safety
    /// As for [`Ref::from_raw`].
    pub unsafe fn from_raw(p: *mut pg_sys::Node) -> Node {
        Node(p)
    }

    /// The pointer.
    pub fn as_ptr(self) -> *mut pg_sys::Node {
        self.0
    }

    /// Whether there is no node.
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Whether there is a node.
    pub fn is_some(self) -> bool {
        !self.0.is_null()
    }

    /// The node's tag; `T_Invalid` for none.
    pub fn tag(self) -> NodeTag {
        // SAFETY: null or a valid node.
        unsafe { nodes::tag(self.0) }
    }

    /// The node as one of a type, when it is of that type.
    pub fn cast<R: TaggedRef>(self) -> Option<R> {
        R::of(self)
    }

    /// The elements of a list of nodes; none when it is something else.
    pub fn list(self) -> List<Node> {
        let p = if self.tag() == NodeTag::T_List { self.0 } else { std::ptr::null_mut() };
        List(p.cast(), PhantomData)
    }

    /// A deep copy.
    pub fn copy(self) -> Node {
        // SAFETY: null or a valid node.
        unsafe { Node(nodes::copy(self.0)) }
    }

    /// A number that equal trees have in common.
    pub fn fingerprint(self) -> u64 {
        let mut hasher = FxHasher::default();
        self.walk(|n| {
            (n.tag() as u32).hash(&mut hasher);
            match n.kind() {
                Kind::Param(p) => p.paramid().hash(&mut hasher),
                Kind::Var(v) => (v.varno(), v.varattno()).hash(&mut hasher),
                // SAFETY: a valid constant.
                Kind::Const(c) => unsafe { nodes::const_hash(c.as_ptr()) }.hash(&mut hasher),
                _ => (),
            }
            Visit::Descend
        });
        hasher.finish()
    }

    /// Whether two trees are the same in structure.
    pub fn equals(self, other: Node) -> bool {
        // SAFETY: null or valid nodes.
        unsafe { nodes::equal(self.0, other.0) }
    }
}

/// Handles of nodes that have a tag of their own.
pub trait TaggedRef: Copy {
    /// The handle for a node of the right type.
    fn of(node: Node) -> Option<Self>;
}

impl<T: Tagged> TaggedRef for Ref<T> {
    fn of(node: Node) -> Option<Self> {
        if node.tag() == T::TAG {
            NonNull::new(node.0.cast()).map(Ref)
        } else {
            None
        }
    }
}

impl Element for Node {
    unsafe fn read(cell: &pg_sys::ListCell) -> Self {
        // SAFETY: a list of pointers.
        unsafe { Node(cell.ptr_value.cast()) }
    }

    unsafe fn append(self, list: *mut pg_sys::List) -> *mut pg_sys::List {
        // SAFETY: a list of pointers.
        unsafe { pg_sys::lappend(list, self.0.cast()) }
    }
}

impl<T> Element for Ref<T> {
    unsafe fn read(cell: &pg_sys::ListCell) -> Self {
        // SAFETY: a list of nodes of this type, none of them null.
        unsafe { Ref(NonNull::new_unchecked(cell.ptr_value.cast())) }
    }

    unsafe fn append(self, list: *mut pg_sys::List) -> *mut pg_sys::List {
        // SAFETY: a list of pointers.
        unsafe { pg_sys::lappend(list, self.0.as_ptr() as *mut c_void) }
    }
}

impl Element for Oid {
    unsafe fn read(cell: &pg_sys::ListCell) -> Self {
        // SAFETY: a list of OIDs.
        unsafe { cell.oid_value }
    }

    unsafe fn append(self, list: *mut pg_sys::List) -> *mut pg_sys::List {
        // SAFETY: a list of OIDs.
        unsafe { pg_sys::lappend_oid(list, self) }
    }
}

impl Element for i32 {
    unsafe fn read(cell: &pg_sys::ListCell) -> Self {
        // SAFETY: a list of integers.
        unsafe { cell.int_value }
    }

    unsafe fn append(self, list: *mut pg_sys::List) -> *mut pg_sys::List {
        // SAFETY: a list of integers.
        unsafe { pg_sys::lappend_int(list, self) }
    }
}

impl<E> Clone for List<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for List<E> {}

impl<E> List<E> {
    /// The empty list.
    pub const EMPTY: List<E> = List(std::ptr::null_mut(), PhantomData);

    /// A handle for a pointer.
    ///
    /// # Safety
    /// The pointer must be null or to a list of such elements, as for [`Ref::from_raw`].
    pub unsafe fn from_raw(p: *mut pg_sys::List) -> Self {
        List(p, PhantomData)
    }

    /// The pointer.
    pub fn as_ptr(self) -> *mut pg_sys::List {
        self.0
    }

    /// The list as a node.
    pub fn node(self) -> Node {
        Node(self.0.cast())
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        // SAFETY: null or a valid list.
        unsafe { nodes::len(self.0) }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A deep copy.
    pub fn copy(self) -> Self {
        // SAFETY: null or a valid list.
        unsafe { List(nodes::copy(self.0), PhantomData) }
    }
}

impl<E: Element> List<E> {
    /// Element `i` from 0.
    pub fn get(self, i: usize) -> Option<E> {
        // SAFETY: the cell exists.
        (i < self.len()).then(|| unsafe { E::read(&*(*self.0).elements.add(i)) })
    }

    /// Replaces element `i`, if there is one.
    pub fn set(self, i: usize, e: E) {
        if i < self.len() {
            // SAFETY: the cell exists, and the new list has one cell of the same kind.
            unsafe { *(*self.0).elements.add(i) = *(*e.append(std::ptr::null_mut())).elements }
        }
    }

    /// The elements in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = E> + Clone {
        (0..self.len()).filter_map(move |i| self.get(i))
    }

    /// Appends an element.
    pub fn push(&mut self, e: E) {
        // SAFETY: a list of such elements.
        self.0 = unsafe { e.append(self.0) };
    }

    /// The list with one element more, which may be the same list.
    #[must_use]
    pub fn with(mut self, e: E) -> List<E> {
        self.push(e);
        self
    }

    /// Appends another list.
    #[must_use]
    pub fn concat(self, other: List<E>) -> List<E> {
        // SAFETY: lists of the same kind of elements.
        List(unsafe { pg_sys::list_concat(self.0, other.0) }, PhantomData)
    }
}

impl<E: Element> FromIterator<E> for List<E> {
    fn from_iter<I: IntoIterator<Item = E>>(items: I) -> Self {
        let mut l = List::EMPTY;
        items.into_iter().for_each(|e| l.push(e));
        l
    }
}

impl<E: Element, const N: usize> From<[E; N]> for List<E> {
    fn from(items: [E; N]) -> Self {
        items.into_iter().collect()
    }
}

impl List<Node> {
    /// Element `i` from 0, no node where there is none.
    pub fn at(self, i: usize) -> Node {
        self.get(i).unwrap_or(Node::NONE)
    }

    /// The list as one of nodes of a type; empty when another node is in it.
    pub fn of<R: TaggedRef>(self) -> List<R> {
        let fits = self.iter().all(|n| R::of(n).is_some());
        List(if fits { self.0 } else { std::ptr::null_mut() }, PhantomData)
    }
}

impl Text {
    /// No text.
    pub const NONE: Text = Text(std::ptr::null_mut());

    /// A copy of a text.
    pub fn new(s: &str) -> Text {
        // SAFETY: copies the bytes and terminates them.
        Text(unsafe { nodes::pstr(s) })
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// The pointer.
    fn as_ptr(self) -> *mut c_char {
        self.0
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: null or a zero-terminated string.
        f.write_str(&unsafe { nodes::str_of(self.0) })
    }
}
