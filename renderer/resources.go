package renderer

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Built-in limits of a desktop, used where neither session nor template says.
const (
	DefaultGPUs   int32        = 1
	DefaultMemory vdi.Quantity = "4Gi"
	DefaultCPU    vdi.Quantity = "2"
	// DefaultHomeSize is the size of a home where the session says none.
	DefaultHomeSize vdi.Quantity = "10Gi"
)

// maxGPUs is the API's bound on GPU slices per session.
const maxGPUs = 64

// ResourcesOf returns the limits in force: the session's request, which must lie within the
// template's bounds, else the template's default, else the built-in one, moved into the
// bounds. Errors are ErrResources and name the field.
func ResourcesOf(s vdi.VDISessionSpec, t vdi.VDITemplateSpec) (vdi.SessionResources, error) {
	gpus, err := gpusOf(s, t.Resources)
	if err != nil {
		return vdi.SessionResources{}, err
	}
	r := t.Resources
	memory, err := sizeOf(sizing{"memory", bytesIn, s.Resources.Memory, r.DefaultMemory, DefaultMemory, r.Min.Memory, r.Max.Memory})
	if err != nil {
		return vdi.SessionResources{}, err
	}
	cpu, err := sizeOf(sizing{"cpu", coresIn, s.Resources.CPU, r.DefaultCPU, DefaultCPU, r.Min.CPU, r.Max.CPU})
	if err != nil {
		return vdi.SessionResources{}, err
	}
	return vdi.SessionResources{GPU: &gpus, Memory: memory, CPU: cpu}, nil
}

func gpusOf(s vdi.VDISessionSpec, t vdi.TemplateResources) (int32, error) {
	gpus := requestedGPUs(s, t)
	switch {
	case gpus < 0 || gpus > maxGPUs:
		return 0, fmt.Errorf("%w: resources.gpu: %d is not between 0 and %d", ErrResources, gpus, maxGPUs)
	case t.Min.GPU != nil && gpus < *t.Min.GPU:
		return 0, fmt.Errorf("%w: resources.gpu: %d is less than the template's minimum of %d", ErrResources, gpus, *t.Min.GPU)
	case t.Max.GPU != nil && gpus > *t.Max.GPU:
		return 0, fmt.Errorf("%w: resources.gpu: %d is more than the template's maximum of %d", ErrResources, gpus, *t.Max.GPU)
	}
	return gpus, nil
}

// requestedGPUs is the session's number, else the template's or the built-in one, moved into
// the template's bounds.
func requestedGPUs(s vdi.VDISessionSpec, t vdi.TemplateResources) int32 {
	if s.Resources.GPU != nil {
		return *s.Resources.GPU
	}
	gpus := DefaultGPUs
	if t.DefaultGPU != nil {
		gpus = *t.DefaultGPU
	}
	if t.Min.GPU != nil {
		gpus = max(gpus, *t.Min.GPU)
	}
	if t.Max.GPU != nil {
		gpus = min(gpus, *t.Max.GPU)
	}
	return gpus
}

// sizing is what session, template and platform say of memory or CPU, and the reader
// of its unit.
type sizing struct {
	field                                   string
	read                                    reader
	session, template, builtIn, least, most vdi.Quantity
}

// sizeOf is the session's size, if it lies within the bounds that are set; else the
// template's or the built-in one, moved into the bounds.
func sizeOf(s sizing) (vdi.Quantity, error) {
	chosen := s.session
	if chosen == "" {
		chosen = vdi.Quantity(atMost(atLeast(string(cmp.Or(s.template, s.builtIn)), s.least), s.most))
	}
	q, err := s.read("resources."+s.field, chosen)
	if err != nil {
		return "", err
	}
	return chosen, s.checkBounds(q)
}

func (s sizing) checkBounds(q resource.Quantity) error {
	if s.least != "" {
		bound, err := s.read("template's resources.min."+s.field, s.least)
		if err != nil {
			return err
		}
		if q.Cmp(bound) < 0 {
			return fmt.Errorf("%w: resources.%s: %s is less than the template's minimum of %s", ErrResources, s.field, q.String(), s.least)
		}
	}
	if s.most != "" {
		bound, err := s.read("template's resources.max."+s.field, s.most)
		if err != nil {
			return err
		}
		if q.Cmp(bound) > 0 {
			return fmt.Errorf("%w: resources.%s: %s is more than the template's maximum of %s", ErrResources, s.field, q.String(), s.most)
		}
	}
	return nil
}

// reader takes the quantity out of a field's text. Its errors are ErrResources and
// name the field.
type reader func(field string, text vdi.Quantity) (resource.Quantity, error)

func coresIn(field string, text vdi.Quantity) (resource.Quantity, error) {
	return positive(field, text, "2 or 500m")
}

// leastBytes is the least of memory and storage that the API takes. Less is a slip
// of the unit: "512m" is half a byte.
const leastBytes = 1 << 20

func bytesIn(field string, text vdi.Quantity) (resource.Quantity, error) {
	q, err := positive(field, text, "512Mi or 4Gi")
	if err != nil || q.CmpInt64(leastBytes) >= 0 {
		return q, err
	}
	hint := "units: k, M, G, Ki, Mi, Gi, Ti"
	if number, thousandths := strings.CutSuffix(string(text), "m"); thousandths {
		hint = fmt.Sprintf("m means thousandths: did you mean %sMi?", number)
	}
	return q, fmt.Errorf("%w: %s: %s is less than 1Mi (%s)", ErrResources, field, string(text), hint)
}

func positive(field string, text vdi.Quantity, examples string) (resource.Quantity, error) {
	q, err := resource.ParseQuantity(string(text))
	if err != nil || q.Sign() <= 0 {
		return q, fmt.Errorf("%w: %s: %q is no positive quantity such as %s", ErrResources, field, string(text), examples)
	}
	return q, nil
}

// requestsOf are what the scheduler reserves: what was requested, where something was, else
// a quarter of the CPU and half of the memory, and never more than the limits.
func requestsOf(limits vdi.SessionResources, requested vdi.TemplateRequests) (vdi.TemplateRequests, error) {
	cpu, err := coresIn("resources.cpu", limits.CPU)
	if err != nil {
		return vdi.TemplateRequests{}, err
	}
	memory, err := bytesIn("resources.memory", limits.Memory)
	if err != nil {
		return vdi.TemplateRequests{}, err
	}
	quarter := resource.NewMilliQuantity(max(cpu.MilliValue()/4, 1), resource.DecimalSI)
	half := resource.NewQuantity(max(memory.Value()/2, 1), memory.Format)
	out := vdi.TemplateRequests{}
	if out.CPU, err = requestOf("requests.cpu", coresIn, requested.CPU, *quarter, cpu); err != nil {
		return out, err
	}
	out.Memory, err = requestOf("requests.memory", bytesIn, requested.Memory, *half, memory)
	return out, err
}

func requestOf(field string, read reader, requested vdi.Quantity, share, limit resource.Quantity) (vdi.Quantity, error) {
	if requested == "" {
		return vdi.Quantity(share.String()), nil
	}
	q, err := read(field, requested)
	if err != nil {
		return "", err
	}
	if q.Cmp(limit) > 0 {
		q = limit
	}
	return vdi.Quantity(q.String()), nil
}

// atMost is the smaller of two quantities in text form, and atLeast the larger;
// where one of them is no quantity it is the first: others judge it.
func atMost(text string, bound vdi.Quantity) string { return bounded(text, bound, 1) }

func atLeast(text string, bound vdi.Quantity) string { return bounded(text, bound, -1) }

// bounded is the bound where the text lies beyond it on the given side.
func bounded(text string, bound vdi.Quantity, beyond int) string {
	size, err := resource.ParseQuantity(text)
	limit, limitErr := resource.ParseQuantity(string(bound))
	if err == nil && limitErr == nil && size.Cmp(limit) == beyond {
		return string(bound)
	}
	return text
}
