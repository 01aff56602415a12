package sim

import (
	"sync"

	"k8s.io/utils/lru"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// remembering is the real renderer, which is asked once for each input: it is most of
// the work of a life, and the same input makes the same objects.
type remembering struct {
	*renderer.Renderer

	rendered *lru.Cache // by the input's fingerprint
	judged   *lru.Cache // what is wrong with a template, by the fingerprint of it and the settings
}

type outcome struct {
	renderer.Rendered
	err error
}

type judgement struct{ err error }

// Render implements session.Renderer.
func (r remembering) Render(in renderer.Input) (renderer.Rendered, error) {
	fingerprint, err := in.Fingerprint()
	if err != nil {
		return r.Renderer.Render(in)
	}
	if known, found := r.rendered.Get(fingerprint); found {
		o := known.(outcome)
		return o.Rendered, o.err
	}
	rendered, err := r.Renderer.Render(in)
	r.rendered.Add(fingerprint, outcome{rendered, err})
	return rendered, err
}

// ValidateTemplate implements template.Renderer: it renders, too, and each world has a template.
func (r remembering) ValidateTemplate(t *vdi.VDITemplate, p platform.Config) error {
	in := renderer.Input{Template: *t, Platform: p}
	fingerprint, err := in.Fingerprint()
	if err != nil {
		return r.Renderer.ValidateTemplate(t, p)
	}
	if known, found := r.judged.Get(fingerprint); found {
		return known.(judgement).err
	}
	err = r.Renderer.ValidateTemplate(t, p)
	r.judged.Add(fingerprint, judgement{err})
	return err
}

// renders is shared by all worlds.
var renders = sync.OnceValue(func() remembering {
	r, err := renderer.New()
	if err != nil {
		panic(err)
	}
	return remembering{r, lru.New(2000), lru.New(500)}
})
