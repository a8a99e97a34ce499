//! Which engine is chosen, and what is said, where io_uring is denied or short of resources.

use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, setuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use upsplice::config::model::EngineChoice;
use upsplice::engine::probe::{Chosen, SetupError, choose};

/// Names the scene that a child process plays; see [`in_a_process`].
const SCENE: &str = "UPSPLICE_TEST_SCENE";

/// Chooses on a thread on which one system call answers with an errno. A filter binds a thread and
/// its children only, so it ends with the thread.
fn choose_without(
    call: libc::c_long,
    errno: i32,
    wish: EngineChoice,
) -> Result<Chosen, SetupError> {
    let filter = SeccompFilter::new(
        [(call, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    std::thread::spawn(move || {
        apply_filter(&program).unwrap();
        choose(wish)
    })
    .join()
    .unwrap()
}

#[test]
fn a_sandbox_makes_the_choice_epoll_and_the_log_says_why() {
    for (errno, words) in [
        (libc::EPERM, "io_uring_setup: EPERM: denied by a sandbox or by kernel.io_uring_disabled"),
        (libc::ENOSYS, "io_uring_setup: ENOSYS: the kernel has no io_uring, or a sandbox hides it"),
        (libc::EINVAL, "io_uring_setup: EINVAL: the kernel is older than 6.1"),
    ] {
        let chosen = choose_without(libc::SYS_io_uring_setup, errno, EngineChoice::Auto).unwrap();
        assert!(matches!(chosen, Chosen::Epoll { instead: Some(_) }), "{chosen}");
        assert_eq!(chosen.to_string(), format!("epoll (no io_uring: {words})"));
    }
}

#[test]
fn a_sandbox_that_denies_a_later_call_is_noticed_too() {
    for call in [libc::SYS_io_uring_register, libc::SYS_io_uring_enter] {
        let chosen = choose_without(call, libc::EPERM, EngineChoice::Auto).unwrap();
        assert!(matches!(chosen, Chosen::Epoll { instead: Some(_) }), "{chosen}");
    }
}

#[test]
fn a_demand_for_io_uring_is_refused_with_the_reason() {
    let error = choose_without(libc::SYS_io_uring_setup, libc::EPERM, EngineChoice::IoUring);
    let error = error.unwrap_err();
    assert!(error.denied());
    assert!(error.to_string().contains("sandbox"), "{error}");
}

#[test]
fn short_resources_are_an_error_with_a_hint_and_not_epoll() {
    for errno in [libc::ENOMEM, libc::EMFILE] {
        let error = choose_without(libc::SYS_io_uring_setup, errno, EngineChoice::Auto);
        let error = error.unwrap_err();
        assert_eq!(error.errno(), errno);
        assert!(error.to_string().contains("raise RLIMIT_"), "{error}");
    }
}

/// Plays a scene in a process of its own, because a resource limit binds a whole process: runs this
/// test binary again with only the test `scene`, and returns what it printed.
fn in_a_process(scene: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scene", "--nocapture", "--test-threads=1"])
        .env(SCENE, scene)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    said
}

/// Not a test by itself: what [`in_a_process`] runs.
#[test]
fn scene() {
    let Ok(scene) = std::env::var(SCENE) else { return };
    match scene.as_str() {
        "no descriptor left" => {
            // One more than is open: the probe's eventfd still fits, the ring does not.
            let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
            let limit = u64::try_from(next).unwrap() + 1;
            setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
        }
        "no memory to lock" => {
            setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
            // The limit does not bind who has CAP_IPC_LOCK, such as root.
            if Uid::effective().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
        }
        other => panic!("no scene is called {other}"),
    }
    match choose(EngineChoice::Auto) {
        Ok(chosen) => println!("chosen: {chosen}"),
        Err(error) => println!("error: {error}"),
    }
}

/// Whether this system has io_uring at all: what it denies cannot run short.
fn has_uring() -> bool {
    matches!(choose(EngineChoice::Auto), Ok(Chosen::Uring))
}

#[test]
fn no_descriptor_left_is_an_error_with_a_hint() {
    if !has_uring() {
        return;
    }
    let said = in_a_process("no descriptor left");
    assert!(said.contains("error: io_uring_setup: EMFILE: raise RLIMIT_NOFILE"), "{said}");
}

#[test]
fn no_memory_to_lock_is_an_error_with_a_hint_where_the_kernel_counts_it() {
    if !has_uring() {
        return;
    }
    let said = in_a_process("no memory to lock");
    // Kernels differ in what they count against the limit; none may fall back to epoll for it.
    let counted = said.contains("ENOMEM: raise RLIMIT_MEMLOCK");
    assert!(counted || said.contains("chosen: io_uring"), "{said}");
}
