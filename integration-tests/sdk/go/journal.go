// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
)

// A journal holds one JSON line per call, written only once its outcome is known.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// entry is a line of any journal; each case writes the fields it has.
type entry struct {
	ID      string `json:"id"`
	Run     string `json:"run,omitempty"`
	Value   *int64 `json:"value,omitempty"`
	N       *int64 `json:"n,omitempty"`
	TimerMs int64  `json:"timerMs,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
	Error   string `json:"error,omitempty"`
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	return &journal{file: file}, err
}

func (j *journal) write(e entry) {
	line, err := json.Marshal(e)
	if err == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdk: journal:", err)
		os.Exit(1)
	}
}

// readLines decodes the lines of the files; a last one that is cut off (its writer was killed)
// does not count.
func readLines[T any](paths []string) ([]T, error) {
	var all []T
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for {
			line, rest, whole := bytes.Cut(text, []byte("\n"))
			if !whole {
				break
			}
			var one T
			if err := json.Unmarshal(line, &one); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			all, text = append(all, one), rest
		}
	}
	return all, nil
}

// errorClass is the gRPC status of an error, as in NOT_FOUND.
func errorClass(err error) string {
	code := serviceerror.ToStatus(err).Code()
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && unicode.IsUpper(letter) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(letter))
	}
	return name.String()
}

// ticks calls fn with 0, 1, 2, ... at the rate until the time is over or SIGTERM comes.
func ticks(o *options, fn func(int64)) {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	begin := time.Now()
	for n := int64(0); ; n++ {
		due := time.Duration(float64(n) / o.rate * float64(time.Second))
		if o.duration >= 0 && due >= time.Duration(o.duration*float64(time.Second)) {
			return
		}
		if pause(stop, time.Until(begin.Add(due))) {
			return
		}
		fn(n)
	}
}
