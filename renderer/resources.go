package renderer

import (
	"cmp"
	"fmt"

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

// ResourcesOf returns the limits in force: the session's, else the template's,
// else the built-in ones, checked against the template's bounds. Errors are
// ErrResources and name the field.
func ResourcesOf(s vdi.VDISessionSpec, t vdi.VDITemplateSpec) (vdi.SessionResources, error) {
	gpus, err := gpusOf(s, t.Resources)
	if err != nil {
		return vdi.SessionResources{}, err
	}
	r := t.Resources
	memory, err := sizeOf("memory", s.Resources.Memory, r.DefaultMemory, DefaultMemory, r.Min.Memory, r.Max.Memory)
	if err != nil {
		return vdi.SessionResources{}, err
	}
	cpu, err := sizeOf("cpu", s.Resources.CPU, r.DefaultCPU, DefaultCPU, r.Min.CPU, r.Max.CPU)
	if err != nil {
		return vdi.SessionResources{}, err
	}
	return vdi.SessionResources{GPU: &gpus, Memory: memory, CPU: cpu}, nil
}

func gpusOf(s vdi.VDISessionSpec, t vdi.TemplateResources) (int32, error) {
	gpus := gpuWish(s, t)
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

// gpuWish is the session's number, else the template's, else the built-in one,
// moved into the template's bounds.
func gpuWish(s vdi.VDISessionSpec, t vdi.TemplateResources) int32 {
	gpus := DefaultGPUs
	switch {
	case s.Resources.GPU != nil:
		return *s.Resources.GPU
	case t.DefaultGPU != nil:
		return *t.DefaultGPU
	}
	if t.Min.GPU != nil {
		gpus = max(gpus, *t.Min.GPU)
	}
	if t.Max.GPU != nil {
		gpus = min(gpus, *t.Max.GPU)
	}
	return gpus
}

// sizeOf is the first of session and template that is set, if it lies within
// the bounds that are set; else the built-in size, moved into the bounds.
func sizeOf(field string, session, template, builtIn, least, most vdi.Quantity) (vdi.Quantity, error) {
	chosen := cmp.Or(session, template)
	if chosen == "" {
		chosen = vdi.Quantity(atMost(atLeast(string(builtIn), least), most))
	}
	size, err := quantity("resources."+field, chosen)
	if err != nil {
		return "", err
	}
	return chosen, checkBounds(field, size, least, most)
}

func checkBounds(field string, size resource.Quantity, least, most vdi.Quantity) error {
	if least != "" {
		bound, err := quantity("template's resources.min."+field, least)
		if err != nil {
			return err
		}
		if size.Cmp(bound) < 0 {
			return fmt.Errorf("%w: resources.%s: %s is less than the template's minimum of %s", ErrResources, field, size.String(), least)
		}
	}
	if most != "" {
		bound, err := quantity("template's resources.max."+field, most)
		if err != nil {
			return err
		}
		if size.Cmp(bound) > 0 {
			return fmt.Errorf("%w: resources.%s: %s is more than the template's maximum of %s", ErrResources, field, size.String(), most)
		}
	}
	return nil
}

func quantity(field string, text vdi.Quantity) (resource.Quantity, error) {
	q, err := resource.ParseQuantity(string(text))
	if err != nil || q.Sign() <= 0 {
		return q, fmt.Errorf("%w: %s: %q is no positive quantity such as 2, 500m or 4Gi", ErrResources, field, string(text))
	}
	return q, nil
}

// requestsOf are what the scheduler reserves: the wish where there is one, else
// a quarter of the CPU and half of the memory, and never more than the limits.
func requestsOf(limits vdi.SessionResources, wish vdi.TemplateRequests) (vdi.TemplateRequests, error) {
	cpu, err := quantity("resources.cpu", limits.CPU)
	if err != nil {
		return vdi.TemplateRequests{}, err
	}
	memory, err := quantity("resources.memory", limits.Memory)
	if err != nil {
		return vdi.TemplateRequests{}, err
	}
	quarter := resource.NewMilliQuantity(max(cpu.MilliValue()/4, 1), resource.DecimalSI)
	half := resource.NewQuantity(max(memory.Value()/2, 1), memory.Format)
	out := vdi.TemplateRequests{}
	if out.CPU, err = requestOf("requests.cpu", wish.CPU, *quarter, cpu); err != nil {
		return out, err
	}
	out.Memory, err = requestOf("requests.memory", wish.Memory, *half, memory)
	return out, err
}

func requestOf(field string, wish vdi.Quantity, share, limit resource.Quantity) (vdi.Quantity, error) {
	if wish == "" {
		return vdi.Quantity(share.String()), nil
	}
	q, err := quantity(field, wish)
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
