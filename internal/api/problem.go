package api

import (
	"net/http"
	"net/netip"
	"time"
)

// ProblemType is the content type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an error as RFC 9457 has it. Decide by Code only: the other texts
// are for people and may change.
type Problem struct {
	// Type is the URL of a page that explains the code, or its path if the
	// server does not know its own URL.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"` // HTTP status
	Code   string `json:"code"`
	Detail string `json:"detail"`         // what was wrong
	Help   string `json:"help,omitempty"` // what to do
	// Source is the address that the request came from, where it matters.
	Source netip.Addr `json:"source,omitzero"`
	// Now is the server's clock in Unix seconds, the form in which signatures
	// have their time. 0: it does not matter.
	Now int64 `json:"now,omitempty"`
	// LastCreated is the creation time, in Unix seconds, that a signature must be
	// newer than. 0: it does not matter.
	LastCreated int64 `json:"last_created,omitempty"`
	// RetryAfter is after how many seconds trying again makes sense; 0: not said.
	RetryAfter int64 `json:"retry_after,omitempty"`
}

// Error is what was wrong and what to do.
func (p *Problem) Error() string {
	switch {
	case p.Help != "":
		return p.Detail + "; " + p.Help
	case p.RetryAfter > 0:
		return p.Detail + "; try again in " + (time.Duration(p.RetryAfter) * time.Second).String()
	}
	return p.Detail
}

// Code explains one code of a Problem.
type Code struct {
	Code   string
	Status int    // HTTP status that goes with it
	Title  string // short, the same for every problem of the code
	Text   string // what it means and what to do
}

// Codes that only HTTP has. The others are the core's, one list for all doors.
const (
	CodeNotFound        = "not-found"
	CodeMethod          = "method"
	CodeTooLarge        = "too-large"
	CodeUnsupportedType = "unsupported-type"
	CodeCrossOrigin     = "cross-origin"
	CodeWrongHost       = "wrong-host"
	CodeInternal        = "internal"
)

// Codes are all codes that a Problem can have, in the order in which checks are
// made.
func Codes() []Code {
	return []Code{
		{"malformed", http.StatusBadRequest, "The request cannot be understood",
			"Something in the request is not in the form that this path takes. The detail says what. Correct it; the same request will fail again."},
		{"bad-proof", http.StatusUnauthorized, "The proof does not hold",
			"The host is unknown, or the token, hash, signature or join code does not hold for it, or it is revoked, expired, used already or used outside its networks. The server does not say which. Check the host name and the secret; a device whose key has ended joins with a new code."},
		{"clock", http.StatusUnauthorized, "The clocks differ",
			"The signature was made more than 300 seconds away from the server's time. Set the clock, or take the offset from the answer."},
		{"replayed", http.StatusConflict, "The signature was used before",
			"A newer signature was accepted already. Sign again with a later time."},
		{"not-yours", http.StatusForbidden, "The credential does not cover this",
			"The proof holds, but not for this name or type of record. Use a credential that covers it."},
		{"not-source", http.StatusForbidden, "The address is not the caller's",
			"The host may only be set to the address that the request comes from. Send it from there, or let the operator run: godwit host set NAME --source free"},
		{"address-not-allowed", http.StatusUnprocessableEntity, "The address is not allowed",
			"The address is outside the host's address policy. By default private and other special addresses are refused. To allow it: godwit host set NAME --addresses any"},
		{"wrong-family", http.StatusUnprocessableEntity, "The address family is not taken",
			"The host or the credential takes no address of this family. Send the update over the other one."},
		{"too-many", http.StatusUnprocessableEntity, "Too many values",
			"A host has at most 8 addresses of each family. Name fewer."},
		{"precondition", http.StatusPreconditionFailed, "A condition does not hold",
			"The request made a condition that the present records do not meet. Look at them and decide again."},
		{"suspended", http.StatusForbidden, "The host is suspended",
			"An operator stopped this host or this credential. Ask the operator of this server."},
		{"rate-limited", http.StatusTooManyRequests, "Too many requests",
			"Wait for as long as Retry-After says. A client that asks only when its address changed never sees this."},
		{"unavailable", http.StatusServiceUnavailable, "The server cannot do it now",
			"Nothing was changed as far as the server knows. Try again after the time that Retry-After says."},
		{"exists", http.StatusConflict, "The name is taken",
			"A host or a follower has that name already. Choose another, or change what is there."},
		{CodeNotFound, http.StatusNotFound, "There is no such thing here",
			"No such path, host or credential. Check the spelling."},
		{CodeMethod, http.StatusMethodNotAllowed, "The method is not allowed here",
			"This path does not take that method; the Allow header says which it takes. HEAD is refused wherever a request can change something."},
		{CodeTooLarge, http.StatusRequestEntityTooLarge, "The request is too large",
			"The body is larger than this path takes. Send less, or in parts."},
		{CodeUnsupportedType, http.StatusUnsupportedMediaType, "The content type is not taken",
			"Send the body as application/json."},
		{CodeCrossOrigin, http.StatusForbidden, "The request comes from another web site",
			"A browser sent this for a page of another origin. The admin API is not for such pages."},
		{CodeWrongHost, http.StatusMisdirectedRequest, "The server does not go by this name",
			"The Host header names another server. Use the address of the admin listener, localhost, or the name in the server's --url."},
		{CodeInternal, http.StatusInternalServerError, "The server made a mistake",
			"This is a bug; the server's log has the details. Please report it."},
	}
}
