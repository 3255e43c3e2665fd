package httpserver

import (
	"html"
	"net/http"
	"net/netip"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
)

const (
	textPlain = "text/plain; charset=utf-8"
	textHTML  = "text/html; charset=utf-8"
)

// page is the frame of every page for people. It has no version and no
// address: clients that search a page for an address must not find one.
func page(w http.ResponseWriter, title, text string) {
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>")
	b.WriteString(html.EscapeString(title))
	b.WriteString("</title></head>\n<body>\n<h1>")
	b.WriteString(html.EscapeString(title))
	b.WriteString("</h1>\n<p>")
	b.WriteString(html.EscapeString(text))
	b.WriteString("</p>\n</body>\n</html>\n")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	answer(w, http.StatusOK, textHTML, []byte(b.String()))
}

func (s *Server) frontPage(w http.ResponseWriter, _ *http.Request) {
	page(w, "godwit", "This is a dynamic DNS server. Programs tell it the address that their host has now, and it puts that into DNS. There is nothing to see here for people.")
}

// errorPage explains one code of a problem.
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request) {
	code, ok := s.codes[r.PathValue("code")]
	if !ok {
		s.refuse(w, api.CodeNotFound, "there is no such code", "look at the code member of the answer")
		return
	}
	page(w, code.Code+": "+code.Title, code.Text)
}

// echo is GET /ip: the caller's address and a line feed, to the byte.
func (s *Server) echo(w http.ResponseWriter, r *http.Request) {
	if addr, ok := s.caller(w, r); ok {
		answer(w, http.StatusOK, textPlain, append(addr.AppendTo(make([]byte, 0, 48)), '\n'))
	}
}

// checkIP is GET /nic/checkip: the caller's address in the page that Dyn has, or
// alone with format=plain.
func (s *Server) checkIP(w http.ResponseWriter, r *http.Request) {
	addr, ok := s.caller(w, r)
	if !ok {
		return
	}
	var p paramSet
	if p.read(r.URL.RawQuery, ""); p.get(pFormat, pFormat) == "plain" {
		answer(w, http.StatusOK, textPlain, addr.AppendTo(nil))
		return
	}
	answer(w, http.StatusOK, "text/html", []byte("<html><head><title>Current IP Check</title></head><body>Current IP Address: "+addr.String()+"</body></html>\r\n"))
}

// caller is where a request came from. If that cannot be told, it is answered.
func (s *Server) caller(w http.ResponseWriter, r *http.Request) (netip.Addr, bool) {
	src, err := s.source(r)
	if err != nil {
		s.refuse(w, string(ddns.Malformed), err.Error(), "ask the operator of this server")
		return netip.Addr{}, false
	}
	if refusal := s.Service.Admit(src); refusal != nil {
		s.fail(w, refusal)
		return netip.Addr{}, false
	}
	return src.Addr, true
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, textPlain, []byte("ok\n"))
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, textPlain, []byte("not ready: "+err.Error()+"\n"))
			return
		}
	}
	answer(w, http.StatusOK, textPlain, []byte("ready\n"))
}
