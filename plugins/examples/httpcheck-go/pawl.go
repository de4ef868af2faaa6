package main

// Pawl's guest ABI 1 for Go, with the standard library alone.
//
// What a plugin works with lies in the host's memory and is reached by handles; data is copied in and out.

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

//go:wasmimport extism:host/env alloc
func hostAlloc(size uint64) uint64

//go:wasmimport extism:host/env free
func hostFree(handle uint64)

//go:wasmimport extism:host/env length
func hostLength(handle uint64) uint64

//go:wasmimport extism:host/env load_u8
func hostLoad8(at uint64) uint32

//go:wasmimport extism:host/env load_u64
func hostLoad64(at uint64) uint64

//go:wasmimport extism:host/env store_u8
func hostStore8(at uint64, value uint32)

//go:wasmimport extism:host/env store_u64
func hostStore64(at uint64, value uint64)

//go:wasmimport extism:host/env input_length
func hostInputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func hostInputLoad8(at uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func hostInputLoad64(at uint64) uint64

//go:wasmimport extism:host/env output_set
func hostOutputSet(handle uint64, size uint64)

//go:wasmimport extism:host/env error_set
func hostErrorSet(handle uint64)

//go:wasmimport extism:host/env config_get
func hostConfigGet(key uint64) uint64

//go:wasmimport extism:host/env log_info
func hostLogInfo(message uint64)

//go:wasmimport pawl call
func hostCall(request uint64) uint64

// give copies bytes into the host's memory.
func give(data []byte) uint64 {
	handle := hostAlloc(uint64(len(data)))
	at := handle
	for ; len(data) >= 8; data = data[8:] {
		hostStore64(at, binary.LittleEndian.Uint64(data))
		at += 8
	}
	for i, one := range data {
		hostStore8(at+uint64(i), uint32(one))
	}
	return handle
}

// copied reads so many bytes, eight at a time.
func copied(size uint64, load64 func(uint64) uint64, load8 func(uint64) uint32) []byte {
	data := make([]byte, 0, size)
	at := uint64(0)
	for ; at+8 <= size; at += 8 {
		data = binary.LittleEndian.AppendUint64(data, load64(at))
	}
	for ; at < size; at++ {
		data = append(data, byte(load8(at)))
	}
	return data
}

// take copies a block out of the host's memory and gives it back.
func take(handle uint64) []byte {
	data := copied(hostLength(handle),
		func(at uint64) uint64 { return hostLoad64(handle + at) },
		func(at uint64) uint32 { return hostLoad8(handle + at) })
	hostFree(handle)
	return data
}

// Input is the task's parameters, as they are.
func Input() []byte {
	return copied(hostInputLength(),
		func(at uint64) uint64 { return hostInputLoad64(at) },
		func(at uint64) uint32 { return hostInputLoad8(at) })
}

// Config is a value of the job's config, or a fact of the task (task.id, task.attempt, ...); empty if there is none.
func Config(key string) string {
	value := hostConfigGet(give([]byte(key)))
	if value == 0 {
		return ""
	}
	return string(take(value))
}

// Log writes a line to the task's log.
func Log(message string) { hostLogInfo(give([]byte(message))) }

// Output sets the task's output.
func Output(data []byte) { hostOutputSet(give(data), uint64(len(data))) }

// Fail sets the task's error, which is not retried; return what it returns.
func Fail(code, message string) int32 { return fail(code, message, false) }

// FailRetryable sets an error that the job's retries are for.
func FailRetryable(code, message string) int32 { return fail(code, message, true) }

func fail(code, message string, retryable bool) int32 {
	text, _ := json.Marshal(map[string]any{"code": code, "message": message, "retryable": retryable})
	hostErrorSet(give(text))
	return 1
}

// OpError is an op that was answered with an error.
type OpError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

func (e *OpError) Error() string { return e.Code + ": " + e.Message }

// Call is one op of Pawl. `ok`, if it is not nil, gets what the answer holds.
func Call(op, name string, args any, ok any) error {
	if args == nil {
		args = struct{}{}
	}
	request, err := json.Marshal(map[string]any{"op": op, "name": name, "args": args})
	if err != nil {
		return err
	}
	question := give(request)
	answer := take(hostCall(question))
	hostFree(question)
	var reply struct {
		Ok    json.RawMessage `json:"ok"`
		Error *OpError        `json:"error"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return err
	}
	if reply.Error != nil {
		return reply.Error
	}
	if reply.Ok == nil {
		return errors.New("the answer holds neither ok nor error")
	}
	if ok == nil {
		return nil
	}
	return json.Unmarshal(reply.Ok, ok)
}

// Progress says how far the task is, 0 to 100.
func Progress(percent float64, message string) {
	_ = Call("progress", "", map[string]any{"percent": percent, "message": message}, nil)
}

// CancelRequested tells whether somebody wants the task to end.
func CancelRequested() bool {
	var answer struct {
		CancelRequested bool `json:"cancel_requested"`
	}
	return Call("heartbeat", "", nil, &answer) == nil && answer.CancelRequested
}

// Secret reads a secret that an operator has granted to this plugin.
func Secret(name string) (string, error) {
	var answer struct {
		Value string `json:"value"`
	}
	err := Call("secret", name, nil, &answer)
	return answer.Value, err
}

// Request is an HTTP request; an operator grants the host.
type Request struct {
	URL            string            `json:"url"`
	Method         string            `json:"method,omitempty"`
	Headers        map[string]string `json:"headers,omitempty"`
	Body           string            `json:"body,omitempty"`
	TimeoutSeconds float64           `json:"timeout_seconds,omitempty"`
}

// Response is the answer to one.
type Response struct {
	Status  int               `json:"status"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// HTTP has the agent make a request.
func HTTP(request Request) (Response, error) {
	var response Response
	err := Call("http", "", request, &response)
	return response, err
}
