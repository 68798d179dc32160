package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// pathName is a name in the path of an endpoint. net/http has unescaped the path
// once, as for a WebSocket, and the same names are valid.
type pathName struct{ value, field, what string }

var (
	deviceName = pathName{"id", "device_id", "a device id"}
	userName   = pathName{"user", "user", "a user name"}
)

// checked refuses requests whose name nobody can have.
func (n *pathName) checked(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if name := r.PathValue(n.value); !protocol.ValidName(name) {
			httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage,
				fmt.Sprintf("field %q: %q is not %s; use 1 to %d letters, digits and . _ : - that start with a letter or digit", n.field, admission.Clip(name), n.what, protocol.MaxNameLen))
			return
		}
		serve(w, r)
	}
}
