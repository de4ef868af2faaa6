module example.com/httpcheck-go

go 1.24
