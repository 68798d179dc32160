package option

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// RangeError says that a value lies outside the bounds of its option.
type RangeError struct{ Option, Value, Bounds string }

// Error names the option as the command line does.
func (e *RangeError) Error() string {
	return fmt.Sprintf("%s %s is out of range; use %s", e.Option, e.Value, e.Bounds)
}

// Set gives the option a value as the command line writes it, and checks it.
// A list takes several texts, each of which may hold several values separated
// by commas; every other option takes the last text.
func (o *Option) Set(texts ...string) error {
	if o.List() {
		return o.setList(texts)
	}
	text := texts[len(texts)-1]
	if text == "" && o.field.Kind() == reflect.String {
		if o.Default != "" || o.Required {
			return fmt.Errorf("%s is empty; leave it out, or give it a value", o.Flag())
		}
		o.field.SetZero()
		return nil
	}
	if err := o.oneOf(text); err != nil {
		return err
	}
	switch kind := o.field.Kind(); {
	case kind == reflect.String && o.Path:
		o.field.SetString(expand(text))
	case kind == reflect.String:
		o.field.SetString(text)
	case o.isWord:
		o.field.SetBool(text == o.Words[1])
	case kind == reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%s %q: use true or false", o.Flag(), text)
		}
		o.field.SetBool(on)
	default:
		return o.setNumber(text)
	}
	return nil
}

func (o *Option) setList(texts []string) error {
	var items []string
	for _, text := range texts {
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := o.oneOf(item); err != nil {
				return err
			}
			items = append(items, item)
		}
	}
	o.field.Set(reflect.ValueOf(items))
	return nil
}

func (o *Option) oneOf(text string) error {
	for _, word := range o.Words {
		if text == word {
			return nil
		}
	}
	if len(o.Words) == 0 {
		return nil
	}
	most := len(o.Words) - 1
	return fmt.Errorf("%s %q is unknown; use %s or %s", o.Flag(), text, strings.Join(o.Words[:most], ", "), o.Words[most])
}

func (o *Option) setNumber(text string) error {
	n, err := o.number(text)
	if err != nil {
		return err
	}
	if !o.within(n) {
		return &RangeError{o.Flag(), text, o.Bounds()}
	}
	v := o.field
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Float64:
		v.SetFloat(n)
	case reflect.Uint64:
		u, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%s %q is not a whole number from 0 to 2^64-1", o.Flag(), text)
		}
		v.SetUint(u)
	case reflect.Int:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%s %q is not a whole number below 2^63", o.Flag(), text)
		}
		v.SetInt(i)
	default:
		v.SetInt(int64(n))
	}
	return nil
}

// number reads a number or a duration, the latter in nanoseconds. A float64
// holds every duration and every count that is within any bounds exactly.
func (o *Option) number(text string) (float64, error) {
	t := o.field.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%s %q is not a duration; use a number with a unit, for example 30s, 500ms or 2h", o.Flag(), text)
		}
		return float64(d), nil
	case t.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%s %q is not a number", o.Flag(), text)
		}
		return n, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return math.Copysign(math.Inf(1), float64(n)), nil
	case err != nil:
		return 0, fmt.Errorf("%s %q is not a whole number", o.Flag(), text)
	}
	return float64(n), nil
}

// within reports whether a number is within the bounds. NaN never is.
func (o *Option) within(n float64) bool {
	return !math.IsNaN(n) && (o.min == nil || n >= *o.min) && (o.max == nil || n <= *o.max)
}

// current returns the number that the field holds; ok is false for a field that
// holds none.
func (o *Option) current() (n float64, ok bool) {
	v := o.field
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return 0, false
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return float64(v.Int()), true
	case reflect.Uint64:
		return float64(v.Uint()), true
	case reflect.Float64:
		return v.Float(), true
	}
	return 0, false
}

// format writes a number as the command line does: 1h, not 1h0m0s.
func (o *Option) format(n float64) string {
	t := o.field.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == durationType {
		return FormatDuration(time.Duration(n))
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// FormatDuration writes a duration without the units that are zero.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// expand makes a path absolute and a leading ~/ the home directory.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, rest)
		}
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// Text returns the present value in words, for messages.
func (o *Option) Text() string {
	if o.field.Kind() == reflect.Pointer && !o.field.IsNil() {
		return fmt.Sprint(o.field.Elem().Interface())
	}
	return fmt.Sprint(o.field.Interface())
}
