package httpresponse

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labgate/labgate/protocol"
)

// TestEncode reads encoded responses with net/http.
func TestEncode(t *testing.T) {
	for name, c := range map[string]struct {
		write          func(w http.ResponseWriter)
		method         string
		last           bool
		status, length int
		body           string
	}{
		"nothing":  {func(http.ResponseWriter) {}, "GET", false, 200, 0, ""},
		"body":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("abc")) }, "GET", false, 200, 3, "abc"},
		"HEAD":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("abc")) }, "HEAD", false, 200, 3, ""},
		"first":    {func(w http.ResponseWriter) { w.WriteHeader(404); w.WriteHeader(500) }, "GET", true, 404, 0, ""},
		"no body":  {func(w http.ResponseWriter) { w.WriteHeader(204) }, "DELETE", false, 204, 0, ""},
		"an error": {func(w http.ResponseWriter) { WriteError(w, 400, protocol.ErrBadMessage, "m") }, "GET", true, 400, 47, `{"error":{"code":"bad_message","message":"m"}}` + "\n"},
		"no JSON":  {func(w http.ResponseWriter) { WriteJSON(w, 200, func() {}) }, "GET", false, 500, 77, `{"error":{"code":"unavailable","message":"the answer could not be encoded"}}` + "\n"},
	} {
		var b Buffer
		c.write(&b)
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b.Encode(c.method != "HEAD", c.last))), &http.Request{Method: c.method})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != c.status || res.ContentLength != int64(c.length) || res.Close != c.last || string(body) != c.body || res.Header.Get("Date") == "" {
			t.Errorf("%s: %d, %d bytes, close %v, %q %v", name, res.StatusCode, res.ContentLength, res.Close, body, err)
		}

		rec := httptest.NewRecorder()
		b = Buffer{}
		c.write(&b)
		b.CopyTo(rec, c.method != "HEAD", c.last)
		if rec.Code != c.status || rec.Body.String() != c.body || (rec.Header().Get("Connection") == "close") != c.last {
			t.Errorf("%s, copied: %d %v %q", name, rec.Code, rec.Header(), rec.Body)
		}
	}
}
