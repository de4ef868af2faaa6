//! Counts the bytes of its parameters: replace this with your own work.

mod pawl;

#[no_mangle]
pub extern "C" fn execute_task() {
    let input = pawl::input();
    if input.is_empty() {
        return pawl::fail("INVALID_INPUT", "parameters: some are needed");
    }
    pawl::log("counting");
    pawl::progress(50);
    pawl::output(&format!("{{\"bytes\": {}}}", input.len()));
}
