package httpserver

// Routes are all routes of a server as "METHOD PATH".
func Routes(s *Server) (public, admin []string) {
	list := func(routes []route) (out []string) {
		for _, r := range routes {
			path := r.path
			if path == "/{$}" {
				path = "/"
			}
			for method := range r.methods {
				out = append(out, method+" "+path)
			}
		}
		return out
	}
	return list(s.publicRoutes()), list(s.adminRoutes())
}

// ReadAddresses is readAddresses.
var ReadAddresses = readAddresses
