package httpapi

import (
	"net/http"
	"slices"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router"
)

// deviceList answers GET /v1/devices.
type deviceList struct {
	Devices []router.DeviceStatus `json:"devices"`
	missingNodes
}

func (a *API) getDevices(w http.ResponseWriter, r *http.Request) {
	id := identityOf(r)
	all, silent := a.router.Devices(r.Context())
	devices := slices.DeleteFunc(all, func(d router.DeviceStatus) bool { return !id.MayObserve(d.DeviceID) })
	httpresponse.WriteJSON(w, http.StatusOK, deviceList{devices, a.missing(silent)})
}

// getDevice answers for a device that may not be observed as for one that is
// not there.
func (a *API) getDevice(w http.ResponseWriter, r *http.Request) {
	d, ok := a.router.Device(r.Context(), r.PathValue("id"))
	if !ok || !identityOf(r).MayObserve(d.DeviceID) {
		httpresponse.WriteError(w, http.StatusNotFound, protocol.ErrDeviceOffline, "device "+admission.Clip(r.PathValue("id"))+" is not connected")
		return
	}
	httpresponse.WriteJSON(w, http.StatusOK, d)
}
