//! Endpoints at one host and port share its connections: few are opened, and one that hangs keeps none from its neighbours.

use futures_util::future::join_all;

use super::*;

#[test]
fn a_burst_to_one_host_uses_few_connections() {
    local(async {
        let server = Server::answers(OK).await;
        let (pool, url) = (pool(), server.url());
        for _ in 0..2 {
            let all: Vec<_> = (0..6400).map(|number| (number % 100).to_string()).collect();
            let all = join_all(all.iter().map(|destination| post_for(&pool, &url, destination, AMPLE))).await;
            assert!(all.iter().all(Result::is_ok), "{:?}", all.iter().find(|result| result.is_err()));
        }
        assert!((2..=128).contains(&server.connections()), "{}", server.connections());
    });
}

#[test]
fn paths_that_hang_keep_nothing_from_others_at_their_host() {
    local(async {
        let server = Server::answers(OK).await;
        let pool = pool();
        let hanging: Vec<_> = (0..3200)
            .map(|number| {
                let (pool, url) = (Rc::clone(&pool), format!("http://127.0.0.1:{}/hang", server.port()));
                tokio::task::spawn_local(async move { post_for(&pool, &url, &format!("hangs {}", number % 50), AMPLE).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let url = server.url();
        for _ in 0..20 {
            let healthy: Vec<_> = (0..200).map(|number| format!("healthy {}", number % 50)).collect();
            // Far less than one that hangs is waited for.
            let all = join_all(healthy.iter().map(|destination| post_for(&pool, &url, destination, AMPLE / 4))).await;
            assert!(all.iter().all(Result::is_ok), "{:?}", all.iter().find(|result| result.is_err()));
        }
        assert!(hanging.iter().all(|task| !task.is_finished()));
        hanging.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn endpoints_that_hang_get_their_connections_beside_the_others() {
    local(async {
        let server = Server::answers(b"".as_slice()).await;
        let (pool, url) = (pool(), server.url());
        // As many as the two endpoints may have together.
        let all: Vec<_> = (0..64).map(|number| (number % 2).to_string()).collect();
        let all = join_all(all.iter().map(|destination| post_for(&pool, &url, destination, AMPLE / 4))).await;
        let hung = all.iter().filter(|all| matches!(all, Err(SendError { fault: Fault::Timeout(Phase::Answer), .. })));
        assert_eq!((server.connections(), hung.count()), (64, 64));
    });
}

#[test]
fn connections_pass_from_one_endpoint_to_another() {
    local(async {
        let server = Server::answers(OK).await;
        let (pool, url) = (pool(), server.url());
        for number in 0..10 {
            post_for(&pool, &url, &number.to_string(), AMPLE).await.unwrap();
        }
        assert_eq!(server.connections(), 1);
    });
}
