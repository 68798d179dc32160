package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for the page: long, since the machine may be busy.
const patience = 20 * time.Second

// tab is a browser tab of one test. It collects whatever the browser complains
// about and what it fetched.
type tab struct {
	t       *testing.T
	browser *chromium
	session string

	mu       sync.Mutex
	problems []string
	requests []string
}

// openTab opens a tab in a context of its own: no storage is shared with other
// tests. It is closed with the test.
func openTab(t *testing.T, url string) *tab {
	t.Helper()
	return openTabWith(t, url, "")
}

// openTabWith opens a tab in which the script runs before the page's own.
func openTabWith(t *testing.T, url, script string) *tab {
	t.Helper()
	b := sharedBrowser(t)
	p := &tab{t: t, browser: b}
	var made struct {
		BrowserContextID string `json:"browserContextId"`
		TargetID         string `json:"targetId"`
		SessionID        string `json:"sessionId"`
	}
	type object = map[string]any
	p.on("", "Target.createBrowserContext", object{}, &made)
	t.Cleanup(func() {
		b.listen(p.session, nil)
		p.on("", "Target.disposeBrowserContext", object{"browserContextId": made.BrowserContextID}, nil)
	})
	p.on("", "Target.createTarget", object{"url": "about:blank", "browserContextId": made.BrowserContextID, "width": 1280, "height": 1000}, &made)
	p.on("", "Target.attachToTarget", object{"targetId": made.TargetID, "flatten": true}, &made)
	p.session = made.SessionID
	b.listen(p.session, p.event)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", object{}, nil)
	}
	p.call("Page.addScriptToEvaluateOnNewDocument", object{
		"source": `addEventListener("securitypolicyviolation", (e) => console.error("CSP", e.violatedDirective, e.blockedURI, e.sample))`,
	}, nil)
	p.call("Page.addScriptToEvaluateOnNewDocument", object{"source": script}, nil)
	p.call("Page.navigate", object{"url": url}, nil)
	p.wait(`document.readyState === "complete" && location.href.startsWith(` + fmt.Sprintf("%q", url) + `)`)
	return p
}

func (p *tab) call(method string, params, result any) {
	p.t.Helper()
	p.on(p.session, method, params, result)
}

func (p *tab) on(session, method string, params, result any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.browser.call(ctx, session, method, params, result); err != nil {
		p.t.Fatal(err)
	}
}

// event notes errors, warnings and requests.
func (p *tab) event(method string, params json.RawMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Runtime.exceptionThrown":
		p.problems = append(p.problems, "exception: "+string(params))
	case "Runtime.consoleAPICalled":
		var call struct{ Type string }
		if json.Unmarshal(params, &call) == nil && (call.Type == "error" || call.Type == "warning" || call.Type == "assert") {
			p.problems = append(p.problems, "console: "+string(params))
		}
	case "Log.entryAdded":
		var added struct {
			Entry struct{ Level, Text, URL string }
		}
		if json.Unmarshal(params, &added) == nil && (added.Entry.Level == "error" || added.Entry.Level == "warning") {
			p.problems = append(p.problems, "log: "+added.Entry.Text+" "+added.Entry.URL)
		}
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(params, &sent) == nil {
			p.requests = append(p.requests, sent.Request.URL)
		}
	}
}

// checkClean fails the test when the browser complained, or fetched something
// from elsewhere than origin.
func (p *tab) checkClean(origin string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, problem := range p.problems {
		p.t.Errorf("the browser complains: %s", problem)
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, origin+"/") {
			p.t.Errorf("the page fetched %s, which is not the gateway's", url)
		}
	}
}

// eval evaluates an expression, awaits it if it is a promise, and reads its
// value as JSON.
func (p *tab) eval(expression string, into any) {
	p.t.Helper()
	if err := p.tryEval(expression, into); err != nil {
		p.t.Fatalf("%v\n%s", err, expression)
	}
}

func (p *tab) tryEval(expression string, into any) error {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}
	if err := p.browser.call(ctx, p.session, "Runtime.evaluate", params, &answer); err != nil {
		return err
	}
	if e := answer.ExceptionDetails; e != nil {
		return fmt.Errorf("%s %s", e.Text, e.Exception.Description)
	}
	if into == nil || len(answer.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(answer.Result.Value, into)
}

// wait waits until the expression is true.
func (p *tab) wait(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var ok bool
		err := p.tryEval("Boolean("+expression+")", &ok)
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			var text string
			_ = p.tryEval(`document.body.innerText`, &text)
			p.t.Fatalf("this never came true (%v): %s\nThe page shows:\n%s\nThe browser complained: %q", err, expression, text, p.problems)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// waitText waits until an element's text contains what is wanted.
func (p *tab) waitText(selector, want string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, want))
}

// text returns an element's text.
func (p *tab) text(selector string) string {
	p.t.Helper()
	var s string
	p.eval(fmt.Sprintf("document.querySelector(%q).textContent", selector), &s)
	return s
}

// number returns what a <data> element holds.
func (p *tab) number(selector string) float64 {
	p.t.Helper()
	var n float64
	p.eval(fmt.Sprintf("Number(document.querySelector(%q).value)", selector), &n)
	return n
}

// click presses the mouse button on an element, as a person would: it must be
// visible and nothing may lie over it.
func (p *tab) click(selector string) {
	p.t.Helper()
	var at struct {
		X, Y float64
		Hit  bool
	}
	p.eval(fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({ block: "center", behavior: "instant" });
		const r = e.getBoundingClientRect();
		const x = r.x + r.width / 2, y = r.y + r.height / 2;
		return { x, y, hit: e.contains(document.elementFromPoint(x, y)) };
	})()`, selector), &at)
	if !at.Hit {
		p.t.Fatalf("%s cannot be clicked at %v, %v: it is hidden or covered", selector, at.X, at.Y)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// write puts text where the focus is.
func (p *tab) write(text string) {
	p.t.Helper()
	p.call("Input.insertText", map[string]any{"text": text}, nil)
}

// press presses and releases a key where the focus is: Tab or Enter.
func (p *tab) press(key string) {
	p.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13}[key]
	params := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if key == "Enter" {
		params["text"] = "\r"
	}
	p.call("Input.dispatchKeyEvent", params, nil)
	params["type"] = "keyUp"
	delete(params, "text")
	p.call("Input.dispatchKeyEvent", params, nil)
}
