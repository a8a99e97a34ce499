//! What a worker said when it panicked, kept for the log.
//!
//! The place of a panic is known only to the process-wide hook. The program installs one; an
//! embedder's process keeps its own, and the log then has the message without the place.

use std::any::Any;
use std::cell::RefCell;

thread_local! {
    /// `Some` exactly on worker threads; the text is empty until there is something to say.
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what panicking worker threads say for the log and sends all others to the previous hook.
pub fn install_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let kept = LAST_WORDS.try_with(|words| match &mut *words.borrow_mut() {
            Some(words) => {
                let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
                *words = format!("{}{place}", message(info.payload()));
                true
            }
            None => false,
        });
        if !kept.unwrap_or(false) {
            previous(info);
        }
    }));
}

/// Makes the calling thread one whose last words are kept.
pub(super) fn watch_this_thread() {
    LAST_WORDS.with(|words| *words.borrow_mut() = Some(String::new()));
}

/// What the calling thread said when it panicked with this payload.
pub(super) fn last_words(payload: &(dyn Any + Send)) -> String {
    let kept = LAST_WORDS.with(|words| words.borrow_mut().as_mut().map(std::mem::take));
    match kept {
        Some(words) if !words.is_empty() => words,
        _ => message(payload).to_owned(),
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
