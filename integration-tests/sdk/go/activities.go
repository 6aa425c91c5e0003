// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
)

const beatInterval = 100 * time.Millisecond

// effectsPath is where the activity `effect` leaves its traces; set by the worker.
var effectsPath string

// activities by name; each takes one JSON value and returns one.
var activities = map[string]any{
	"echo": echo, "fail": failAlways, "failUntil": failUntil, "resume": resume, "nap": nap,
	"later": later, "effect": effect,
}

func echo(_ context.Context, value any) (any, error) {
	return value, nil
}

type failArg struct {
	Type         string `json:"type"`
	Message      string `json:"message"`
	Details      []any  `json:"details"`
	NonRetryable bool   `json:"nonRetryable"`
}

func (a failArg) err() error {
	return temporal.NewApplicationErrorWithOptions(a.Message, a.Type,
		temporal.ApplicationErrorOptions{NonRetryable: a.NonRetryable, Details: a.Details})
}

func failAlways(_ context.Context, arg failArg) (any, error) {
	return nil, arg.err()
}

type attemptArg struct {
	Attempt int32 `json:"attempt"`
}

// failUntil fails every attempt before the given one.
func failUntil(ctx context.Context, arg attemptArg) (*attemptArg, error) {
	attempt := activity.GetInfo(ctx).Attempt
	if attempt < arg.Attempt {
		return nil, failArg{Type: "Flaky", Message: fmt.Sprintf("attempt %d fails", attempt)}.err()
	}
	return &attemptArg{attempt}, nil
}

type resumeArg struct {
	Steps int `json:"steps"`
}

// resume heartbeats its progress and fails in attempt 1; attempt 2 continues from the details.
func resume(ctx context.Context, arg resumeArg) (map[string]any, error) {
	if !activity.HasHeartbeatDetails(ctx) {
		for step := 1; step <= arg.Steps; step++ {
			activity.RecordHeartbeat(ctx, map[string]int{"step": step})
		}
		return nil, failArg{Type: "Flaky", Message: "half way"}.err()
	}
	var last map[string]int
	if err := activity.GetHeartbeatDetails(ctx, &last); err != nil {
		return nil, err
	}
	return map[string]any{"resumed": last["step"], "attempt": activity.GetInfo(ctx).Attempt}, nil
}

type napArg struct {
	Ms    int64 `json:"ms"`
	Beats int   `json:"beats"`
}

// nap takes a while. Beats: how many heartbeats to send on the way, -1 for all the time.
func nap(ctx context.Context, arg napArg) (map[string]int64, error) {
	until := time.Now().Add(time.Duration(arg.Ms) * time.Millisecond)
	for beat := 0; ; {
		left := time.Until(until)
		if left <= 0 {
			return map[string]int64{"slept": arg.Ms}, nil
		}
		if arg.Beats < 0 || beat < arg.Beats {
			beat++
			activity.RecordHeartbeat(ctx, map[string]int{"beat": beat})
			left = min(left, beatInterval)
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// later is completed by somebody else; its heartbeat carries the task token to the test client.
func later(ctx context.Context, _ any) (any, error) {
	info := activity.GetInfo(ctx)
	activity.RecordHeartbeat(ctx, map[string]string{
		"token":      base64.StdEncoding.EncodeToString(info.TaskToken),
		"activityId": info.ActivityID,
	})
	return nil, activity.ErrResultPending
}

type effectArg struct {
	N int64 `json:"n"`
}

// effect leaves one line per execution, in one write, so that executions can be counted.
func effect(ctx context.Context, arg effectArg) (int64, error) {
	info := activity.GetInfo(ctx)
	if effectsPath != "" {
		line, err := json.Marshal(effectLine{info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
			info.Attempt, arg.N})
		if err != nil {
			return 0, err
		}
		file, err := os.OpenFile(effectsPath, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return 0, err
		}
		_, err = file.Write(append(line, '\n'))
		if closing := file.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return 0, err
		}
	}
	return arg.N * arg.N, nil
}

type effectLine struct {
	ID      string `json:"id"`
	Run     string `json:"run"`
	Attempt int32  `json:"attempt"`
	N       int64  `json:"n"`
}
