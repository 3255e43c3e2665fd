//go:build !unix

package command

// lock does nothing: here the service manager starts the agent only once.
func lock(string) (unlock func(), err error) { return func() {}, nil }
