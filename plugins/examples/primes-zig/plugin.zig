//! Counts the primes up to a limit: {"upto": 100} becomes {"primes": 25}. Says how far it is, and ends when it is told to.
const std = @import("std");
const pawl = @import("pawl.zig");

const Parameters = struct { upto: u32 };
const MOST = 50_000_000;
const STEP = 1 << 20;

export fn execute_task() i32 {
    const given = std.json.parseFromSliceLeaky(Parameters, pawl.allocator, pawl.input(), .{}) catch
        return pawl.fail("INVALID_INPUT", "parameters.upto: a whole number is needed");
    if (given.upto > MOST) return pawl.fail("INVALID_INPUT", pawl.print("parameters.upto: at most {d}", .{MOST}));
    const composite = pawl.allocator.alloc(bool, given.upto + 1) catch
        return pawl.fail("TOO_LARGE", "no memory for so many numbers");
    @memset(composite, false);
    var primes: u32 = 0;
    var next: u32 = 2;
    while (next <= given.upto) : (next += 1) {
        if (next % STEP == 0) {
            if (pawl.cancelRequested()) return pawl.fail("STOPPED", pawl.print("stopped at {d}", .{next}));
            pawl.progress(100.0 * @as(f64, @floatFromInt(next)) / @as(f64, @floatFromInt(given.upto)));
        }
        if (composite[next]) continue;
        primes += 1;
        var multiple: u64 = @as(u64, next) * next;
        while (multiple <= given.upto) : (multiple += next) composite[@intCast(multiple)] = true;
    }
    pawl.output(pawl.print("{{\"primes\": {d}}}", .{primes}));
    return 0;
}
