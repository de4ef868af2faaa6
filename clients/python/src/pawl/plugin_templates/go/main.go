// Counts the bytes of its parameters: replace this with your own work.
package main

import "strconv"

//go:wasmexport execute_task
func executeTask() int32 {
	input := Input()
	if len(input) == 0 {
		return Fail("INVALID_INPUT", "parameters: some are needed")
	}
	Log("counting")
	Progress(50, "")
	Output([]byte(`{"bytes": ` + strconv.Itoa(len(input)) + `}`))
	return 0
}

func main() {}
