// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
)

const detailsMax = 8

// describe gives the one plain form of a failure that all three languages share: workflows return
// it as a part of their result, checks compare it.
func describe(err error) map[string]any {
	if err == nil {
		return map[string]any{}
	}
	var out map[string]any
	switch e := err.(type) {
	case *temporal.WorkflowExecutionError:
		return describe(errors.Unwrap(e))
	case *temporal.ActivityError:
		out = map[string]any{"kind": "activity", "activity": e.ActivityType().GetName(),
			"retry": e.RetryState().String()}
	case *temporal.ChildWorkflowExecutionError:
		out = map[string]any{"kind": "child", "workflow": e.WorkflowType(),
			"retry": e.RetryState().String()}
	case *temporal.ApplicationError:
		out = map[string]any{"kind": "application", "type": e.Type(), "message": e.Message(),
			"nonRetryable": e.NonRetryable(), "details": details(e.HasDetails(), e.Details)}
	case *temporal.TimeoutError:
		out = map[string]any{"kind": "timeout", "timeout": e.TimeoutType().String(),
			"details": details(e.HasLastHeartbeatDetails(), e.LastHeartbeatDetails)}
	case *temporal.CanceledError:
		out = map[string]any{"kind": "canceled", "details": details(e.HasDetails(), e.Details)}
	case *temporal.TerminatedError:
		out = map[string]any{"kind": "terminated", "message": e.Error()}
	default:
		out = map[string]any{"kind": "other", "type": fmt.Sprintf("%T", err), "message": err.Error()}
	}
	if cause := errors.Unwrap(err); cause != nil {
		out["cause"] = describe(cause)
	}
	return out
}

// details decodes as many values as there are, found by what stays untouched of too many.
func details(has bool, decode func(...any) error) []any {
	type untouched struct{}
	values := []any{}
	if !has {
		return values
	}
	more := make([]any, detailsMax)
	pointers := make([]any, detailsMax)
	for i := range more {
		more[i] = untouched{}
		pointers[i] = &more[i]
	}
	if err := decode(pointers...); err != nil {
		return []any{err.Error()}
	}
	for _, value := range more {
		if value == (untouched{}) {
			break
		}
		values = append(values, value)
	}
	return values
}
