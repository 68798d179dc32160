package server

import (
	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/internal/events"
)

// watchDescriptions lets changed files of descriptions take effect, until the end of
// Shutdown.
func (s *Server) watchDescriptions() {
	if s.described == nil {
		return
	}
	listener := events.OrNop(s.opts.Events)
	s.described.Watch(s.router.DescriptionFilesChanged, func(f describe.FileReport) {
		listener.FileRead(events.FileRead{
			Option: "--descriptions", Path: f.Path, Version: f.Version, Changed: f.Changed, Removed: f.Changed && f.Version == "", Err: f.Err,
		})
	})
}
