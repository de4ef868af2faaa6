//! Counts the bytes of its parameters: replace this with your own work.
const std = @import("std");
const pawl = @import("pawl.zig");

export fn execute_task() i32 {
    const input = pawl.input();
    if (input.len == 0) return pawl.fail("INVALID_INPUT", "parameters: some are needed");
    pawl.log("counting");
    pawl.progress(50);
    pawl.output(pawl.print("{{\"bytes\": {d}}}", .{input.len}));
    return 0;
}
