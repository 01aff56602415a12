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
