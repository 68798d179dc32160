package option

import "reflect"

// Fill gives each option that is zero its default. Where zero is a value within
// the bounds, a zero field means just that and stays: an idle timeout of 0 is
// "never", although the command line's default is another one.
func Fill(structs ...any) {
	for _, o := range Of(structs...) {
		if o.Default != "" && o.field.IsZero() && !o.zeroAllowed() {
			o.mustSetDefault()
		}
	}
}

// SetDefault gives the option its default, as the command line does for an
// option that is not given.
func (o *Option) SetDefault() {
	if o.Default != "" {
		o.mustSetDefault()
	}
}

// Check reports the first option whose value is not allowed. An option that is
// zero and has no default counts as not given.
func Check(structs ...any) error {
	for _, o := range Of(structs...) {
		if err := o.check(); err != nil {
			return err
		}
	}
	return nil
}

func (o *Option) check() error {
	if n, ok := o.current(); ok {
		if o.within(n) || n == 0 && o.Default == "" && o.field.IsZero() {
			return nil
		}
		return &RangeError{o.Flag(), o.format(n), o.Bounds()}
	}
	if o.field.Kind() == reflect.String && !o.field.IsZero() {
		return o.oneOf(o.field.String())
	}
	return nil
}

func (o *Option) zeroAllowed() bool {
	_, number := o.current()
	return number && o.min != nil && o.within(0)
}

// mustSetDefault panics when a default is none: a wrong declaration.
func (o *Option) mustSetDefault() {
	if err := o.Set(o.Default); err != nil {
		panic("option: default of --" + o.Name + ": " + err.Error())
	}
}
