package tape

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3Store keeps tapes below s3://bucket/prefix. Each object is written once (If-None-Match), with its SHA-256 checked by
// the service; the manifest comes last.
type S3Store struct {
	c      *s3.Client
	bucket string
	prefix string
}

// OpenS3 takes s3://bucket/prefix. Credentials and region come as for every AWS program (environment, profile, task
// role); AWS_ENDPOINT_URL_S3 names another service that speaks the protocol.
func OpenS3(ctx context.Context, address string) (*S3Store, error) {
	rest, ok := strings.CutPrefix(address, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" {
		return nil, fmt.Errorf("store %q: write s3://bucket/prefix", address)
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", address, err)
	}
	c := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }) // other services rarely have a host for each bucket
	return &S3Store{c: c, bucket: bucket, prefix: strings.Trim(prefix, "/")}, nil
}

func (s *S3Store) key(tape, file string) *string {
	return aws.String(path.Join(s.prefix, tape, file))
}

func statusOf(err error) int {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// Has says that a tape is there, whole.
func (s *S3Store) Has(ctx context.Context, tape string) (bool, error) {
	_, err := s.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(tape, manifestName)})
	if statusOf(err) == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store s3://%s: %w", s.bucket, err)
	}
	return true, nil
}

// Put writes the files of a tape's folder. An object that is there already must be the same: a pass before was stopped.
func (s *S3Store) Put(ctx context.Context, tape, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("store s3://%s: %w", s.bucket, err)
	}
	for _, e := range entries {
		if e.Name() != manifestName {
			if err := s.put(ctx, tape, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return s.put(ctx, tape, filepath.Join(dir, manifestName))
}

func (s *S3Store) put(ctx context.Context, tape, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("store s3://%s: %w", s.bucket, err)
	}
	sum := sha256.Sum256(b)
	check := base64.StdEncoding.EncodeToString(sum[:])
	key := s.key(tape, filepath.Base(file))
	_, err = s.c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: key, Body: bytes.NewReader(b), IfNoneMatch: aws.String("*"), ChecksumSHA256: &check})
	if statusOf(err) == http.StatusPreconditionFailed {
		head, err := s.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: key, ChecksumMode: "ENABLED"})
		if err != nil {
			return fmt.Errorf("store s3://%s/%s: %w", s.bucket, *key, err)
		}
		if aws.ToInt64(head.ContentLength) != int64(len(b)) || (head.ChecksumSHA256 != nil && *head.ChecksumSHA256 != check) {
			return fmt.Errorf("store s3://%s/%s: another object is there, and tapes are written once", s.bucket, *key)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("store s3://%s/%s: %w", s.bucket, *key, err)
	}
	return nil
}
