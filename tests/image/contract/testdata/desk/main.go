// desk is a web desktop that keeps the contract of desktop images, or breaks it in the way
// that its argument names.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	way, address, page := "", "127.0.0.1:8080", http.StatusOK
	if len(os.Args) > 1 {
		way = os.Args[1]
	}
	switch way {
	case "ends":
		fail("there is no default password")
	case "elsewhere":
		address = "127.0.0.1:3000"
	case "loses":
		write("/opt/desk/state")
	case "shows":
		fmt.Println("PASSWD is", os.Getenv("PASSWD"))
	case "asks":
		page = http.StatusUnauthorized
	case "stays":
		signal.Ignore(syscall.SIGTERM)
	case "locks":
		lock := filepath.Join(os.Getenv("HOME"), "lock")
		if _, err := os.Stat(lock); err == nil {
			fail(lock + " is there: it runs already")
		}
		write(lock)
	}
	write(filepath.Join(os.Getenv("HOME"), "note"))
	write("/tmp/note")
	http.HandleFunc("/api/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if page != http.StatusOK {
			w.Header().Set("WWW-Authenticate", `Basic realm="desk"`)
		}
		w.WriteHeader(page)
		fmt.Fprintln(w, "<title>desk</title>")
	})
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		fail(err.Error())
	}
}

func write(file string) {
	if err := os.WriteFile(file, []byte("a state\n"), 0o600); err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "desk:", why)
	os.Exit(78)
}
