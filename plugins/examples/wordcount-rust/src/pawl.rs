#![allow(dead_code)] // a plugin need not use all of it
//! Pawl's guest ABI 1 for Rust, with the standard library alone.
//!
//! What a plugin works with lies in the host's memory and is reached by handles; data is copied in and out.

mod host {
    #[link(wasm_import_module = "extism:host/env")]
    extern "C" {
        pub fn alloc(size: u64) -> u64;
        pub fn free(handle: u64);
        pub fn length(handle: u64) -> u64;
        pub fn load_u8(at: u64) -> u32;
        pub fn store_u8(at: u64, value: u32);
        pub fn store_u64(at: u64, value: u64);
        pub fn input_length() -> u64;
        pub fn input_load_u8(at: u64) -> u32;
        pub fn input_load_u64(at: u64) -> u64;
        pub fn output_set(handle: u64, size: u64);
        pub fn error_set(handle: u64);
        pub fn config_get(key: u64) -> u64;
        pub fn log_info(message: u64);
    }

    #[link(wasm_import_module = "pawl")]
    extern "C" {
        pub fn call(request: u64) -> u64;
    }
}

/// Copies bytes into the host's memory.
fn give(data: &[u8]) -> u64 {
    let handle = unsafe { host::alloc(data.len() as u64) };
    let words = data.chunks_exact(8);
    let rest = words.remainder();
    let mut at = handle;
    for word in words {
        unsafe { host::store_u64(at, u64::from_le_bytes(word.try_into().unwrap())) };
        at += 8;
    }
    for byte in rest {
        unsafe { host::store_u8(at, u32::from(*byte)) };
        at += 1;
    }
    handle
}

/// Copies a block out of the host's memory and gives it back.
fn take(handle: u64) -> Vec<u8> {
    let size = unsafe { host::length(handle) };
    let data = (0..size).map(|at| unsafe { host::load_u8(handle + at) } as u8).collect();
    unsafe { host::free(handle) };
    data
}

/// The task's parameters, as they are.
pub fn input() -> Vec<u8> {
    let size = unsafe { host::input_length() };
    let mut data = Vec::with_capacity(size as usize);
    let whole = size / 8 * 8;
    for at in (0..whole).step_by(8) {
        data.extend_from_slice(&unsafe { host::input_load_u64(at) }.to_le_bytes());
    }
    for at in whole..size {
        data.push(unsafe { host::input_load_u8(at) } as u8);
    }
    data
}

/// A value of the job's config, or a fact of the task (`task.id`, `task.attempt`, `task.content_type`, ...).
pub fn config(key: &str) -> Option<String> {
    let value = unsafe { host::config_get(give(key.as_bytes())) };
    (value != 0).then(|| String::from_utf8_lossy(&take(value)).into_owned())
}

pub fn log(message: &str) {
    unsafe { host::log_info(give(message.as_bytes())) }
}

pub fn output(text: &str) {
    unsafe { host::output_set(give(text.as_bytes()), text.len() as u64) }
}

/// Text as a JSON string, with its quotes.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Fails the task once it returns. `code` is UPPER_SNAKE.
pub fn fail(code: &str, message: &str) {
    let error = format!("{{\"code\": \"{code}\", \"message\": {}}}", quoted(message));
    unsafe { host::error_set(give(error.as_bytes())) }
}

/// One op of Pawl: a JSON envelope `{op, name, args}`; its answer is `{"ok": ...}` or `{"error": ...}`.
pub fn call(request: &str) -> String {
    let question = give(request.as_bytes());
    let answer = unsafe { host::call(question) };
    unsafe { host::free(question) };
    String::from_utf8_lossy(&take(answer)).into_owned()
}

/// Says how far the task is, 0 to 100.
pub fn progress(percent: u8) {
    call(&format!("{{\"op\": \"progress\", \"args\": {{\"percent\": {percent}}}}}"));
}

/// Whether somebody wants the task to end.
pub fn cancel_requested() -> bool {
    call("{\"op\": \"heartbeat\"}").contains("true")
}
