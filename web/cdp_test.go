package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/coder/websocket"
)

// devtools is a connection to a browser by the Chrome DevTools Protocol: JSON
// requests with ids, answers, and events of the tabs that it is attached to.
//
// Its reading goroutine lives until the connection ends; done is closed then.
type devtools struct {
	conn *websocket.Conn
	done chan struct{}

	mu     sync.Mutex
	lastID int
	calls  map[int]chan cdpMessage
	events map[string]func(method string, params json.RawMessage) // by session
}

type cdpMessage struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

func dialDevtools(ctx context.Context, url string) (*devtools, error) {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(64 << 20)
	d := &devtools{
		conn: conn, done: make(chan struct{}),
		calls:  map[int]chan cdpMessage{},
		events: map[string]func(string, json.RawMessage){},
	}
	go d.read()
	return d, nil
}

// read distributes answers and events. Event functions must not make requests.
func (d *devtools) read() {
	defer close(d.done)
	for {
		_, data, err := d.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m cdpMessage
		if json.Unmarshal(data, &m) != nil {
			continue
		}
		d.mu.Lock()
		answer, event := d.calls[m.ID], d.events[m.SessionID]
		delete(d.calls, m.ID)
		d.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case m.Method != "" && event != nil:
			event(m.Method, m.Params)
		}
	}
}

// call makes a request; session is empty for the browser itself. result may be
// nil.
func (d *devtools) call(ctx context.Context, session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan cdpMessage, 1)
	d.mu.Lock()
	d.lastID++
	id := d.lastID
	d.calls[id] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.calls, id)
		d.mu.Unlock()
	}()
	request, err := json.Marshal(cdpMessage{ID: id, SessionID: session, Method: method, Params: raw})
	if err != nil {
		return err
	}
	if err := d.conn.Write(ctx, websocket.MessageText, request); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-d.done:
		return errors.New(method + ": the browser has closed the connection")
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// listen sets the function that gets the events of a session.
func (d *devtools) listen(session string, event func(method string, params json.RawMessage)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if event == nil {
		delete(d.events, session)
		return
	}
	d.events[session] = event
}

func (d *devtools) close() {
	_ = d.conn.CloseNow()
	<-d.done
}
