package events

import "context"

// askerKey is the key of an Asker in a context.
type askerKey struct{}

// WithAsker returns a context that says who makes a request.
func WithAsker(ctx context.Context, a Asker) context.Context {
	return context.WithValue(ctx, askerKey{}, a)
}

// AskerOf returns who makes a request; the zero Asker if nobody has said so.
func AskerOf(ctx context.Context) Asker {
	a, _ := ctx.Value(askerKey{}).(Asker)
	return a
}
