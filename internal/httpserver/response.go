package httpserver

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// response is what a door says, to be written by net/http or by front.
type response struct {
	status int
	// fields are the header fields but Content-Length, Date and Connection.
	fields []field
	body   []byte
}

// field is one header field; its name is in net/http's spelling.
type field struct{ name, value string }

// respond makes a response with this body, and with further fields.
func respond(status int, contentType string, body []byte, more ...field) response {
	fields := append(make([]field, 0, 5), field{"Cache-Control", noStore}, field{"Content-Type", contentType}, field{"X-Content-Type-Options", "nosniff"})
	return response{status, append(fields, more...), body}
}

// respondJSON makes a response of one of our own types.
func respondJSON(status int, v any) response {
	body, err := json.Marshal(v)
	if err != nil { // cannot be: our own types
		panic(err)
	}
	return respond(status, jsonType, append(body, '\n'))
}

// write makes it the answer to a request that net/http has read. Its length is
// always told, so that it is never chunked.
func (r response) write(w http.ResponseWriter) {
	h := w.Header()
	for _, f := range r.fields {
		h.Set(f.name, f.value)
	}
	h.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the caller has gone; nothing is left to tell it
}

// appendHTTP appends it with all that net/http would add, this Date too.
func (r response) appendHTTP(b []byte, date string, last bool) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(r.status), 10)
	b = append(append(append(b, ' '), http.StatusText(r.status)...), "\r\n"...)
	for _, f := range r.fields {
		b = append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
	}
	b = append(append(b, "Date: "...), date...)
	if last {
		b = append(b, "\r\nConnection: close"...)
	}
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(r.body)), 10)
	return append(append(b, "\r\n\r\n"...), r.body...)
}
