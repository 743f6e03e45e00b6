//! Who asks and never reads is waited for by nobody.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::farm::{Farm, QUICK};
use crate::web::{AT_A_FREE_PORT, ask, port_of};

/// Asks so often that the answers have no room on the way, and reads none of them.
fn who_never_reads(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2_000);
    // As far as it is taken.
    let _ = stream.write_all(requests.as_bytes());
    stream
}

#[test]
fn builds_go_on_while_sixty_four_clients_read_nothing() {
    let farm = Farm::of_three_steps();
    farm.configure(&format!("{QUICK}{AT_A_FREE_PORT}"));
    farm.repo.commit("three steps");
    let mut daemon = farm.daemon();
    let port = port_of(&farm, "daemon");
    farm.wait_until("three images are recorded", Farm::is_in_sync);

    let hanging: Vec<_> = (0..64).map(|_| who_never_reads(port)).collect();
    let silent: Vec<_> =
        (0..16).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    farm.script("c", "echo 2\n");
    farm.repo.commit("another script");
    farm.wait_until("the change is built", |farm| {
        farm.made_images() == 4 && farm.state_of("c") == "in-sync"
    });
    let asked = Instant::now();
    let answer = ask(port, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ask(port, "/readyz").status, 200, "passes are made");
    let resident = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!(resident < 300e6, "{resident} bytes of memory");
    assert_eq!((hanging.len(), silent.len()), (64, 16), "they are still there");
    daemon.stops();
}
