package renderer

import "testing"

// BenchmarkRender is beside Helm's own path in tests/bench.
func BenchmarkRender(b *testing.B) {
	r, in := newRenderer(b), goldenInputs(b)["defaults"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFingerprint is what most passes cost instead of a rendering.
func BenchmarkFingerprint(b *testing.B) {
	for _, name := range []string{"defaults", "oidc", "egress"} {
		in := goldenInputs(b)[name]
		in.Platform = in.Platform.WithDefaults() // as the operator's are
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := in.Fingerprint(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
