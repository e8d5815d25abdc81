//! A way to a server on which messages with a certain text can be held back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Default)]
struct State {
    /// Messages with this text are held back.
    text: Option<Vec<u8>>,
    /// How many are.
    held: usize,
}

/// Connections made to [`Way::port`] lead to the server.
pub struct Way {
    pub port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Way {
    pub fn to(port: u16) -> Way {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let way =
            Way { port: listener.local_addr().expect("an address").port(), state: Arc::default() };
        let state = way.state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (Ok(back), Ok(answers)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                let state = state.clone();
                std::thread::spawn(move || pass(client, server, Some(&state)));
                std::thread::spawn(move || pass(answers, back, None));
            }
        });
        way
    }

    /// Holds back what has this text from now on; nothing with `None`, and what was held goes on.
    pub fn hold(&self, text: Option<&str>) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().text = text.map(|t| t.as_bytes().to_vec());
        changed.notify_all();
    }

    /// Waits until so many messages are held back.
    #[track_caller]
    pub fn await_held(&self, count: usize) {
        let (state, changed) = &*self.state;
        let (state, timeout) = changed
            .wait_timeout_while(state.lock().unwrap(), Duration::from_secs(60), |s| s.held < count)
            .unwrap();
        assert!(!timeout.timed_out(), "{} of {count} messages are held", state.held);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: Option<&(Mutex<State>, Condvar)>) {
    let mut chunk = [0u8; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        let data = &chunk[..n];
        if let Some((state, changed)) = state {
            let has = |s: &State| {
                s.text.as_ref().is_some_and(|t| data.windows(t.len()).any(|w| w == t.as_slice()))
            };
            let mut s = state.lock().unwrap();
            if has(&s) {
                s.held += 1;
                changed.notify_all();
                s = changed.wait_while(s, |s| has(s)).unwrap();
                s.held -= 1;
            }
        }
        if to.write_all(data).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
