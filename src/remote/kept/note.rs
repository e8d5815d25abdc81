//! What goes with a descriptor from the session that leaves it to the one that takes it.

use super::Address;

/// What the next session has to know of a connection.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// When it was left, in microseconds; the row of the place says the same.
    pub since: u64,
    /// When it was made.
    pub created: u64,
    /// Process id and secret of the node's backend, for requests to cancel.
    pub backend: (i32, i32),
    /// Where the socket is connected to.
    pub address: Option<Address>,
    /// Calls that were proven on it.
    pub proofs: u64,
    /// Answers that are still to come, that of `DISCARD ALL` among them.
    pub answers: u64,
    /// What it was made with.
    pub identity: String,
}

impl Note {
    pub fn write(&self) -> Vec<u8> {
        let address = match &self.address {
            Some(Address::Inet(a)) => format!("I{a}").into_bytes(),
            Some(Address::Unix(path)) => {
                let mut bytes = vec![b'U'];
                bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
                bytes
            }
            None => Vec::new(),
        };
        let mut out = Vec::with_capacity(64 + address.len() + self.identity.len());
        out.extend_from_slice(&self.since.to_ne_bytes());
        out.extend_from_slice(&self.created.to_ne_bytes());
        out.extend_from_slice(&self.backend.0.to_ne_bytes());
        out.extend_from_slice(&self.backend.1.to_ne_bytes());
        out.extend_from_slice(&self.proofs.to_ne_bytes());
        out.extend_from_slice(&self.answers.to_ne_bytes());
        out.extend_from_slice(&(address.len() as u64).to_ne_bytes());
        out.extend_from_slice(&address);
        out.extend_from_slice(self.identity.as_bytes());
        out
    }

    pub fn read(bytes: &[u8]) -> Option<Note> {
        let (since, rest) = bytes.split_first_chunk::<8>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (pid, rest) = rest.split_first_chunk::<4>()?;
        let (secret, rest) = rest.split_first_chunk::<4>()?;
        let (proofs, rest) = rest.split_first_chunk::<8>()?;
        let (answers, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (address, identity) =
            rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*len)).ok()?)?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        let address = match address.split_first() {
            Some((b'I', a)) => Some(Address::Inet(text(a)?.parse().ok()?)),
            Some((_, path)) => Some(Address::Unix(text(path)?.into())),
            None => None,
        };
        Some(Note {
            since: u64::from_ne_bytes(*since),
            created: u64::from_ne_bytes(*created),
            backend: (i32::from_ne_bytes(*pid), i32::from_ne_bytes(*secret)),
            address,
            proofs: u64::from_ne_bytes(*proofs),
            answers: u64::from_ne_bytes(*answers),
            identity: text(identity)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() -> Result<(), std::net::AddrParseError> {
        let addresses = [
            None,
            Some(Address::Inet("127.0.0.1:5432".parse()?)),
            Some(Address::Inet("[::1%3]:5432".parse()?)),
            Some(Address::Unix("/tmp/.s.PGSQL.5432".into())),
        ];
        for address in addresses {
            let note = Note {
                since: 7,
                created: u64::MAX,
                backend: (-5, i32::MIN),
                address,
                proofs: 3,
                answers: 2,
                identity: "who \"where\" ü".into(),
            };
            let written = note.write();
            assert_eq!(format!("{:?}", Note::read(&written)), format!("{:?}", Some(note)));
            for cut in 0..48 {
                assert!(Note::read(&written[..cut]).is_none());
            }
        }
        Ok(())
    }
}
