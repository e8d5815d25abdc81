//! The settings `citus.*`: [`listed`] are those that SHOW ALL lists, [`hidden`] the others.
//!
//! One line of a table is all there is to a setting: its storage, its registration and the
//! accessor `settings::name()` come from it. What a setting does is told in `docs/settings.md`.

mod conninfo;
mod hidden;
mod listed;
mod values;

pub use conninfo::{parse_conninfo, ConninfoError};
pub use hidden::*;
pub use listed::*;
pub use values::*;

use crate::error::{sqlstate, Error, Result};
use crate::pg::guc;

/// Defines settings: `name: kind(arguments) Context flags, "description";`.
macro_rules! settings {
    ($register:ident; $($name:ident: $kind:ident $args:tt $ctx:ident $flags:expr, $doc:literal;)*) => {
        #[allow(non_upper_case_globals)]
        mod store {
            use super::*;
            $(setting_storage!($name $kind $args);)*
        }
        $(setting_accessor!($name $kind $args $doc);)*
        /// Makes the settings of this table known to PostgreSQL.
        pub(super) fn $register() {
            $({
                const NAME: &std::ffi::CStr =
                    match std::ffi::CStr::from_bytes_with_nul(
                        concat!("citus.", stringify!($name), "\0").as_bytes(),
                    ) {
                        Ok(name) => name,
                        Err(_) => c"citus",
                    };
                let meta = Meta {
                    name: NAME,
                    description: $doc,
                    context: Context::$ctx,
                    flags: $flags,
                };
                setting_define!(meta, $name $kind $args);
            })*
        }
    };
}

macro_rules! setting_storage {
    ($name:ident bool($default:expr)) => {
        pub static $name: Bool = Bool::new($default);
    };
    ($name:ident real($default:expr, $min:expr, $max:expr)) => {
        pub static $name: Real = Real::new($default);
    };
    ($name:ident text($($any:tt)*)) => {
        pub static $name: Text = Text::new();
    };
    ($name:ident choice($type:ident, $default:ident)) => {
        pub static $name: Int = Int::new($type::$default as i32);
    };
    ($name:ident priority()) => {
        pub static $name: Int = Int::new(INHERIT_PRIORITY);
    };
    ($name:ident $unit:ident($default:expr, $min:expr, $max:expr)) => {
        pub static $name: Int = Int::new($default);
    };
}

macro_rules! setting_accessor {
    ($name:ident bool($($any:tt)*) $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> bool {
            store::$name.get()
        }
    };
    ($name:ident real($($any:tt)*) $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> f64 {
            store::$name.get()
        }
    };
    ($name:ident text($($any:tt)*) $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> String {
            store::$name.get()
        }
    };
    ($name:ident choice($type:ident, $default:ident) $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> $type {
            $type::from_raw(store::$name.get())
        }
    };
    ($name:ident priority() $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> Option<i32> {
            Some(store::$name.get()).filter(|v| *v != INHERIT_PRIORITY)
        }
    };
    ($name:ident $unit:ident($($any:tt)*) $doc:literal) => {
        #[doc = $doc]
        pub fn $name() -> i32 {
            store::$name.get()
        }
    };
}

macro_rules! setting_define {
    ($meta:ident, $name:ident bool($default:expr)) => {
        store::$name.define($meta)
    };
    ($meta:ident, $name:ident real($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, $min, $max)
    };
    ($meta:ident, $name:ident text($default:expr)) => {
        store::$name.define($meta, $default, None)
    };
    ($meta:ident, $name:ident text($default:expr, $check:expr)) => {
        store::$name.define($meta, $default, Some($check))
    };
    ($meta:ident, $name:ident choice($type:ident, $default:ident)) => {
        store::$name.define_enum($meta, $type::VALUES)
    };
    ($meta:ident, $name:ident priority()) => {{
        let words = priority_words();
        let values: Vec<(&str, i32)> = words.iter().map(|(w, v)| (w.as_str(), *v)).collect();
        store::$name.define_enum($meta, &values)
    }};
    ($meta:ident, $name:ident int($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, Unit::None, $min, $max)
    };
    ($meta:ident, $name:ident ms($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, Unit::Ms, $min, $max)
    };
    ($meta:ident, $name:ident byte($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, Unit::Byte, $min, $max)
    };
    ($meta:ident, $name:ident kb($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, Unit::Kb, $min, $max)
    };
    ($meta:ident, $name:ident mb($default:expr, $min:expr, $max:expr)) => {
        store::$name.define($meta, Unit::Mb, $min, $max)
    };
}

use {setting_accessor, setting_define, setting_storage, settings};

/// Refuses to go on when the library is not being loaded at server start.
pub fn require_preload() -> Result<()> {
    if guc::preloading() {
        return Ok(());
    }
    Err(Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "citus must be loaded through shared_preload_libraries",
    )
    .hint(
        "Add citus to shared_preload_libraries in postgresql.conf \
         (shared_preload_libraries = 'citus'), then restart the server.",
    ))
}

/// Makes all settings known to PostgreSQL.
pub fn register() {
    listed::register_listed();
    hidden::register_hidden();
    guc::reserve_prefix(c"citus");
}
