//! Pawl's guest ABI 1 for Zig.
//!
//! What a plugin works with lies in the host's memory and is reached by handles; data is copied in and out. Memory is
//! taken from one arena and never given back: the process ends with the run.
const std = @import("std");

const host = struct {
    extern "extism:host/env" fn alloc(size: u64) u64;
    extern "extism:host/env" fn free(handle: u64) void;
    extern "extism:host/env" fn length(handle: u64) u64;
    extern "extism:host/env" fn load_u8(at: u64) u32;
    extern "extism:host/env" fn store_u8(at: u64, value: u32) void;
    extern "extism:host/env" fn input_length() u64;
    extern "extism:host/env" fn input_load_u8(at: u64) u32;
    extern "extism:host/env" fn output_set(handle: u64, size: u64) void;
    extern "extism:host/env" fn error_set(handle: u64) void;
    extern "extism:host/env" fn config_get(key: u64) u64;
    extern "extism:host/env" fn log_info(message: u64) void;
    extern "pawl" fn call(request: u64) u64;
};

pub const allocator = std.heap.wasm_allocator;

fn room(size: u64) []u8 {
    return allocator.alloc(u8, @intCast(size)) catch @trap();
}

/// Copies bytes into the host's memory.
fn give(data: []const u8) u64 {
    const handle = host.alloc(data.len);
    for (data, 0..) |byte, i| host.store_u8(handle + i, byte);
    return handle;
}

/// Copies a block out of the host's memory and gives it back.
fn take(handle: u64) []u8 {
    const data = room(host.length(handle));
    for (data, 0..) |*byte, i| byte.* = @truncate(host.load_u8(handle + i));
    host.free(handle);
    return data;
}

/// The task's parameters, as they are.
pub fn input() []u8 {
    const data = room(host.input_length());
    for (data, 0..) |*byte, i| byte.* = @truncate(host.input_load_u8(i));
    return data;
}

/// A value of the job's config, or a fact of the task (`task.id`, `task.attempt`, ...).
pub fn config(key: []const u8) ?[]u8 {
    const value = host.config_get(give(key));
    return if (value == 0) null else take(value);
}

/// Text after a format, as in std.fmt.
pub fn print(comptime format: []const u8, values: anytype) []u8 {
    return std.fmt.allocPrint(allocator, format, values) catch @trap();
}

pub fn log(message: []const u8) void {
    host.log_info(give(message));
}

pub fn output(data: []const u8) void {
    host.output_set(give(data), data.len);
}

/// Sets the task's error, which is not retried; return what it returns. `code` is UPPER_SNAKE; `message` must need no
/// escaping in JSON.
pub fn fail(code: []const u8, message: []const u8) i32 {
    host.error_set(give(print("{{\"code\": \"{s}\", \"message\": \"{s}\"}}", .{ code, message })));
    return 1;
}

/// One op of Pawl: a JSON envelope `{op, name, args}`; its answer is `{"ok": ...}` or `{"error": ...}`.
pub fn call(request: []const u8) []u8 {
    const question = give(request);
    const answer = take(host.call(question));
    host.free(question);
    return answer;
}

/// Says how far the task is, 0 to 100.
pub fn progress(percent: f64) void {
    _ = call(print("{{\"op\": \"progress\", \"args\": {{\"percent\": {d}}}}}", .{percent}));
}

/// Whether somebody wants the task to end.
pub fn cancelRequested() bool {
    return std.mem.indexOf(u8, call("{\"op\": \"heartbeat\"}"), "true") != null;
}
