// Calls a URL and says how it answers: {"url": "https://api.example.com/health"} becomes {"status": 200, "bytes": 2}.
//
// Shows what an operator has to grant: the host, and the secret HTTPCHECK_TOKEN, which is sent along where it is granted.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

type parameters struct {
	URL    string `json:"url"`
	Expect int    `json:"expect"`
}

//go:wasmexport execute_task
func executeTask() int32 {
	given := parameters{Expect: 200}
	if err := json.Unmarshal(Input(), &given); err != nil || given.URL == "" {
		return Fail("INVALID_INPUT", "parameters.url: a URL is needed")
	}
	headers := map[string]string{}
	token, err := Secret("HTTPCHECK_TOKEN")
	var refused *OpError
	switch {
	case err == nil:
		headers["Authorization"] = "Bearer " + token
	case errors.As(err, &refused) && refused.Code == "SECRET_NOT_GRANTED":
		Log("no token is granted: asking without")
	default:
		return Fail("TOKEN_UNREADABLE", err.Error())
	}
	response, err := HTTP(Request{URL: given.URL, Headers: headers, TimeoutSeconds: 5})
	if errors.As(err, &refused) {
		return fail(refused.Code, refused.Message, refused.Retryable)
	} else if err != nil {
		return Fail("HTTP_UNREADABLE", err.Error())
	}
	if response.Status != given.Expect {
		message := fmt.Sprintf("%s answers with %d, not %d", given.URL, response.Status, given.Expect)
		return FailRetryable("UNEXPECTED_STATUS", message)
	}
	output, _ := json.Marshal(map[string]int{"status": response.Status, "bytes": len(response.Body)})
	Output(output)
	return 0
}

func main() {}
