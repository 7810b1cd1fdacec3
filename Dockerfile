# The page on a server: docker build -t ganforge . && docker run -p 8501:8501 -v "$PWD/lightning_logs:/runs:ro" ganforge
# What follows ganforge takes the place of /runs: a checkpoint, --model URL, --help.
FROM python:3.12-slim
WORKDIR /ganforge
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
# With --build-arg PIP_EXTRA_INDEX_URL=ADDRESS, that of PyTorch's builds for CPUs, it is 5 GB smaller.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir ".[app]" onnxruntime safetensors -c constraints.txt && useradd --create-home visitor
USER visitor
WORKDIR /home/visitor
EXPOSE 8501
HEALTHCHECK CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8501/_stcore/health')"]
ENTRYPOINT ["ganforge", "app", "--host", "0.0.0.0"]
CMD ["/runs"]
