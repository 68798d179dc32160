// Package option reads the declarations of options from struct fields. The
// package that uses an option declares it, once, on the field that carries the
// value: name, default, bounds and help are tags of the field. The command line
// and programs that fill the struct themselves get the same defaults (Fill) and
// the same bounds (Check).
//
// Only fields are reflected on, never methods: reflect.Value.MethodByName
// anywhere in a program makes the linker keep every method of every type.
package option

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Option is one declared option and the field that carries its value.
//
// The tags of a field:
//
//	option       name, as in "max-message"; fields without it are no options
//	argument     name of a positional argument, in place of option
//	default      value of an option that is not given
//	unset        in words, what holds for an option that is not given and has
//	             no default of its own, for example "the host name"
//	zero         in words, what 0 means, for example "no limit"
//	min, max     bounds, both allowed
//	enum         the allowed words, separated by commas. A bool takes the first
//	             for false and the second for true
//	required     "true": must be given
//	type         "path": a leading ~/ is the home directory
//	group        heading in the help
//	placeholder  stands for the value in the help
//	help         sentences for the help
//	options      "": a struct whose fields are options, as those of an embedded
//	             struct are
//
// A field is a string, a bool, an int, a uint64, a float64, a time.Duration, a
// list of strings, or a pointer to a number: nil is then "not given".
type Option struct {
	Name, Default, Unset, Zero         string
	Group, Placeholder, Help           string
	Words                              []string
	Positional, Required, Path, isWord bool

	min, max *float64 // of a duration in nanoseconds
	field    reflect.Value
}

var durationType = reflect.TypeFor[time.Duration]()

// Of returns the options of structs, given by pointers, in the order of their
// fields. It panics at a declaration that is wrong, which is the programmer's
// fault and shows on the first use.
func Of(structs ...any) []*Option {
	var list []*Option
	for _, s := range structs {
		v := reflect.ValueOf(s)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			panic(fmt.Sprintf("option: %T is not a pointer to a struct", s))
		}
		list = collect(list, v.Elem())
	}
	return list
}

func collect(list []*Option, v reflect.Value) []*Option {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		_, named := f.Tag.Lookup("options")
		switch {
		case f.Type.Kind() == reflect.Struct && (f.Anonymous || named):
			list = collect(list, v.Field(i))
		case f.Tag.Get("option") != "" || f.Tag.Get("argument") != "":
			list = append(list, declared(f, v.Field(i)))
		}
	}
	return list
}

// declared reads the tags of one field.
func declared(f reflect.StructField, v reflect.Value) *Option {
	tag := f.Tag.Get
	o := &Option{
		Name: tag("option"), Default: tag("default"), Unset: tag("unset"), Zero: tag("zero"),
		Group: tag("group"), Placeholder: tag("placeholder"), Help: tag("help"),
		Required: tag("required") == "true", Path: tag("type") == "path", field: v,
	}
	if o.Name == "" {
		o.Name, o.Positional = tag("argument"), true
	}
	if words := tag("enum"); words != "" {
		o.Words = strings.Split(words, ",")
	}
	o.isWord = v.Kind() == reflect.Bool && len(o.Words) == 2
	for key, bound := range map[string]**float64{"min": &o.min, "max": &o.max} {
		if text := tag(key); text != "" {
			n, err := o.number(text)
			if err != nil {
				panic(fmt.Sprintf("option: %s of --%s: %v", key, o.Name, err))
			}
			*bound = &n
		}
	}
	if !v.CanSet() {
		panic(fmt.Sprintf("option: the field of --%s is not exported", o.Name))
	}
	return o
}

// List reports whether the option takes several values.
func (o *Option) List() bool { return o.field.Kind() == reflect.Slice }

// Switch reports whether the option takes no value on the command line.
func (o *Option) Switch() bool { return o.field.Kind() == reflect.Bool && !o.isWord }

// Bounds returns the allowed range in words, empty when there is none.
func (o *Option) Bounds() string {
	switch {
	case o.min == nil && o.max == nil:
		return ""
	case o.max == nil:
		return o.format(*o.min) + " or more"
	case o.min == nil:
		return o.format(*o.max) + " or less"
	case o.Zero != "" && *o.min == 0:
		return "0 (" + o.Zero + ") to " + o.format(*o.max)
	}
	return o.format(*o.min) + " to " + o.format(*o.max)
}

// Flag returns how messages name the option.
func (o *Option) Flag() string {
	if o.Positional {
		return o.Name
	}
	return "--" + o.Name
}

// Kind is a word for the values that the option takes, for the help.
func (o *Option) Kind() string {
	t := o.field.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		return "DURATION"
	case t.Kind() == reflect.String:
		return "TEXT"
	case t.Kind() == reflect.Slice:
		return "TEXT,..."
	case t.Kind() == reflect.Float64:
		return "NUMBER"
	}
	return "N"
}
