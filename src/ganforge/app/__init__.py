"""The page of `ganforge app`, in Streamlit: what the commands do, for people who would rather look."""
