//! Names of prepared transactions, as a coordinator gives them that is not there any more. How they are
//! made up is told in the extension's `txn/gid.rs`.

use crate::client::Conn;

/// A number with digits and letters.
pub fn short(number: &str) -> String {
    let (mut rest, mut text) = (number.parse::<u64>().expect("a number"), Vec::new());
    while rest > 0 || text.is_empty() {
        text.push(char::from_digit((rest % 36) as u32, 36).expect("a digit"));
        rest /= 36;
    }
    text.into_iter().rev().collect()
}

/// What the names begin with that this session's server and database give, as of group 0: process 1 and
/// its transaction 3, which does not run. A number of chance follows, and that of the participant.
pub fn base(c: &mut Conn) -> String {
    let system = c.value("SELECT system_identifier FROM pg_control_system()");
    let oid = c.value("SELECT oid FROM pg_database WHERE datname = current_database()");
    format!("citus_0_{}_{oid}_1_3", short(&system))
}

/// A participant, in a list with `.` between that ends the name: the group of its node, and the
/// transaction that runs in the session there.
pub fn peer(group: &str, session: &mut Conn) -> String {
    let told = session.value("SELECT citus_internal_transaction_id()");
    let (id, start) = told.split_once('-').expect("an id and a start");
    format!("{}-{}-{}", short(group), short(id), short(start))
}
