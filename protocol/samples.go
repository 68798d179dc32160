package protocol

import (
	"encoding/binary"
	"math"
)

// The Append functions add values to the body of a telemetry frame, in the
// order of the wire: all channels of the first sample, then of the second. The
// At functions read value i of a body, the bytes after the header; value i is
// channel i%Channels of sample i/Channels. They panic when i is out of range.

// AppendF32 appends values of FormatF32.
func AppendF32(dst []byte, v ...float32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// AppendF64 appends values of FormatF64.
func AppendF64(dst []byte, v ...float64) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
	}
	return dst
}

// AppendI16 appends values of FormatI16.
func AppendI16(dst []byte, v ...int16) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(x))
	}
	return dst
}

// AppendI32 appends values of FormatI32.
func AppendI32(dst []byte, v ...int32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
	}
	return dst
}

// F32At reads value i of a body of FormatF32.
func F32At(body []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
}

// F64At reads value i of a body of FormatF64.
func F64At(body []byte, i int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(body[8*i:]))
}

// I16At reads value i of a body of FormatI16.
func I16At(body []byte, i int) int16 { return int16(binary.LittleEndian.Uint16(body[2*i:])) }

// I32At reads value i of a body of FormatI32.
func I32At(body []byte, i int) int32 { return int32(binary.LittleEndian.Uint32(body[4*i:])) }
