// Command probe is what the test pod runs: it tells what it sees from inside
// the cluster to whoever asks.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello from ", os.Getenv("HOSTNAME"), " with ", os.Getenv("NVIDIA_VISIBLE_DEVICES"))
	})
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		_, _ = io.Copy(w, response.Body)
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(r.FormValue("file"), []byte("written by a pod"), 0o644); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
