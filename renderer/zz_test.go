package renderer
import ("testing";"bytes";"syscall"
 v2 "go.yaml.in/yaml/v2"
 v3 "go.yaml.in/yaml/v3"
)
func cpu() int64 { var u syscall.Rusage; syscall.Getrusage(0,&u); return u.Utime.Nano()+u.Stime.Nano() }
func BenchmarkParts(b *testing.B){
 r:=newRenderer(b); in:=goldenInputs(b)["defaults"]; in.Platform=in.Platform.WithDefaults()
 vals,_:=r.valuesOf(in)
 var s bytes.Buffer
 for _,f:=range r.chart.files { r.chart.execute(&s,f,releaseOf(in),vals); s.WriteString("\n---\n") }
 text:=s.Bytes()
 run:=func(name string, f func()){ b.Run(name,func(b *testing.B){ b.ReportAllocs(); c:=cpu(); for b.Loop(){f()}; b.ReportMetric(float64(cpu()-c)/float64(b.N),"cpu-ns/op")})}
 run("v3",func(){ d:=v3.NewDecoder(bytes.NewReader(text)); for { var m map[string]any; if d.Decode(&m)!=nil {break} } })
 run("v2",func(){ d:=v2.NewDecoder(bytes.NewReader(text)); for { var m map[string]any; if d.Decode(&m)!=nil {break} } })
 run("values",func(){ r.valuesOf(in) })
 run("schema",func(){ r.schema.check(vals) })
 run("execute",func(){ var s bytes.Buffer; for _,f:=range r.chart.files { r.chart.execute(&s,f,releaseOf(in),vals) } })
 run("all",func(){ r.Render(in) })
 out,_:=r.chart.objects(releaseOf(in),vals)
 for i,st:=range stepsOf(in,vals){ rr:=Rendered{Objects:out}; run("step"+string(rune('0'+i)),func(){ st(&rr) }) }
}
