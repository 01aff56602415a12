package portal

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Size is a number that people may choose within bounds, as a form shows it: GPU slices, cores,
// or GiB.
type Size struct {
	Default string
	// Min and Max are "" where there is no bound.
	Min, Max string
	// Fixed: there is nothing to choose.
	Fixed bool
	unit  unit
	// least and most are Min and Max as the template has them: rounded, they could be beyond it.
	// exact is Default, likewise.
	exact, least, most string
}

// unit is what a number counts, and how it is written in a spec.
type unit int

const (
	slicesOf unit = iota // GPU slices
	cores
	gib
)

// Choices are the sizes that a template lets people choose.
type Choices struct{ GPU, Memory, CPU Size }

// The defaults of templates that say nothing.
const (
	defaultGPU    = 1
	defaultMemory = "4Gi"
	defaultCPU    = "2"
	defaultHome   = "10Gi"
	// maxGPU is the most that any session may ask for.
	maxGPU = 64
)

// Sizes are the choices of a template.
func Sizes(t *vdi.VDITemplate) Choices {
	r := t.Spec.Resources
	count := func(n *int32) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(int(*n))
	}
	return Choices{
		GPU:    sizeOf(slicesOf, cmp.Or(count(r.DefaultGPU), strconv.Itoa(defaultGPU)), cmp.Or(count(r.Min.GPU), "0"), cmp.Or(count(r.Max.GPU), strconv.Itoa(maxGPU))),
		Memory: sizeOf(gib, cmp.Or(string(r.DefaultMemory), defaultMemory), string(r.Min.Memory), string(r.Max.Memory)),
		CPU:    sizeOf(cores, cmp.Or(string(r.DefaultCPU), defaultCPU), string(r.Min.CPU), string(r.Max.CPU)),
	}
}

// HomeSize is the choice of a new home.
func HomeSize() Size { return sizeOf(gib, defaultHome, "", "") }

// sizeOf moves a default beyond a bound to it, as the operator does.
func sizeOf(u unit, preset, least, most string) Size {
	if n, ok := quantity(least); ok && compare(preset, n) < 0 {
		preset = least
	}
	if n, ok := quantity(most); ok && compare(preset, n) > 0 {
		preset = most
	}
	s := Size{Default: u.show(preset), Min: u.show(least), Max: u.show(most), unit: u, exact: preset, least: least, most: most}
	s.Fixed = s.Min != "" && s.Min == s.Max
	return s
}

func quantity(text string) (resource.Quantity, bool) {
	q, err := resource.ParseQuantity(text)
	return q, err == nil && text != ""
}

func compare(text string, with resource.Quantity) int {
	q, ok := quantity(text)
	if !ok {
		return 0
	}
	return q.Cmp(with)
}

const bytesPerGiB = 1 << 30

// show is a quantity as a number of the unit; "" where it is none.
func (u unit) show(text string) string {
	q, ok := quantity(text)
	if !ok {
		return ""
	}
	n := q.AsApproximateFloat64()
	if u == gib {
		n /= bytesPerGiB
	}
	return strconv.FormatFloat(math.Round(n*1000)/1000, 'f', -1, 64)
}

// MemoryWords is an amount of memory in the unit of the forms.
func MemoryWords(text string) string { return gib.show(text) + " GiB" }

// write is a number of the unit as a quantity.
func (u unit) write(n float64) string {
	switch u {
	case gib:
		if mib := math.Round(n * 1024); math.Mod(mib, 1024) != 0 {
			return fmt.Sprintf("%.0fMi", mib)
		}
		return fmt.Sprintf("%.0fGi", n)
	case cores:
		return resource.NewMilliQuantity(int64(math.Round(n*1000)), resource.DecimalSI).String()
	}
	return strconv.Itoa(int(n))
}

// limit bounds what anybody can mean, so that no number overflows.
const limit = 1 << 20

// read is what somebody typed, as a quantity: "" where that is the default. Problem says what
// is wrong with it.
func (s Size) read(typed string) (text, problem string) {
	typed = strings.ReplaceAll(strings.TrimSpace(typed), ",", ".")
	if typed == "" || typed == s.Default {
		return "", ""
	}
	switch typed {
	case s.Min:
		return s.least, ""
	case s.Max:
		return s.most, ""
	}
	n, err := strconv.ParseFloat(typed, 64)
	step := 0.001
	if s.unit == slicesOf {
		step = 1
	}
	bound := func(text string) float64 {
		n, _ := strconv.ParseFloat(text, 64) // it is one of ours, or ""
		return n
	}
	switch {
	case err != nil || math.IsNaN(n) || math.Abs(n) > limit || s.unit == slicesOf && n != math.Trunc(n):
		return "", "This must be a number" + s.between() + "."
	case s.Min != "" && n < bound(s.Min), s.Max != "" && n > bound(s.Max), n < 0, s.unit != slicesOf && n < step:
		return "", "This must be" + s.between() + "."
	}
	return s.unit.write(n), ""
}

// between says in words what is allowed.
func (s Size) between() string {
	switch {
	case s.Min != "" && s.Max != "":
		return " from " + s.Min + " to " + s.Max
	case s.Max != "":
		return " of at most " + s.Max
	case s.Min != "":
		return " of at least " + s.Min
	case s.unit == slicesOf:
		return ", 0 or more"
	}
	return " above 0"
}
