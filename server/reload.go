package server

// Reload reads the files of credentials, the TLS certificate and the descriptions
// again, changed or not. Sessions whose credential is gone are ended; a file that cannot be used
// changes nothing. Listeners of events are told of each file. Reload returns how
// many files were read, and how many of them cannot be used. It does nothing on a
// server that does not run.
func (s *Server) Reload() (read, failed int) {
	if !s.running.Load() || s.stopping.Load() {
		return 0, 0
	}
	read, failed = s.admission.Reload()
	if s.described != nil {
		for _, f := range s.described.Reload() {
			read++
			if f.Err != nil {
				failed++
			}
		}
	}
	had, err := s.loop.ReloadCertificate()
	if had {
		read++
	}
	if err != nil {
		failed++
	}
	return read, failed
}
